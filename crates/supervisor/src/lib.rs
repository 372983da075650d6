//! The supervisor: what it is made of, from the bottom up.
