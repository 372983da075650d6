//! The printed table and its medians.

use std::fmt::Display;

use crate::store::Kind;

pub fn head() {
    row("", Kind::ALL.map(Kind::name));
}

pub fn row(name: &str, cells: [impl Display; Kind::ALL.len()]) {
    print!("{name:<52}");
    for cell in cells {
        print!("{:>18}", cell.to_string());
    }
    println!();
}

/// One line for each candidate: what it did, in words.
pub fn words(name: &str, kind: Kind, text: &str) {
    println!("{name:<60}{:<12}{text}", kind.name());
}

/// Runs the candidates in turn, `runs` times, and gives each one's median of each of its figures.
pub fn medians<const N: usize>(
    runs: usize,
    mut measure: impl FnMut(Kind) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<[[f64; Kind::ALL.len()]; N]> {
    let mut seen = vec![Vec::new(); Kind::ALL.len()];
    for _ in 0..runs {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            seen[at].push(measure(kind)?);
        }
    }
    Ok(std::array::from_fn(|figure| {
        std::array::from_fn(|at| median(seen[at].iter().map(|figures| figures[figure]).collect()))
    }))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
