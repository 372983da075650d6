//! The event hub: what it is made of, from the bottom up.
