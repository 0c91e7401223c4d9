//! What a correlation matrix says about the concentration of a portfolio.

use crate::correlation::Correlations;
use crate::lanes;

/// Groups of columns that move together: connected components of the graph with an edge where
/// `|correlation| >= threshold`.
///
/// Only groups of two and more, the largest first, equally large ones by their first member; members ascend.
#[must_use]
pub fn clusters(correlations: &Correlations, threshold: f64) -> Vec<Vec<usize>> {
    let n = correlations.n;
    let mut root: Vec<usize> = (0..n).collect();
    for i in 0..n {
        for (k, value) in correlations.above_diagonal(i).iter().enumerate() {
            // NaN is no edge.
            if value.abs() >= threshold {
                let (a, b) = (find(&mut root, i), find(&mut root, i + 1 + k));
                // The smaller index becomes the root, so that a root is the first member of its group.
                root[a.max(b)] = a.min(b);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); n];
    for i in 0..n {
        let first = find(&mut root, i);
        groups[first].push(i);
    }
    groups.retain(|group| group.len() > 1);
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a[0].cmp(&b[0])));
    groups
}

/// The first member of the group of `i`, with the way to it shortened.
fn find(root: &mut [usize], mut i: usize) -> usize {
    while root[i] != i {
        root[i] = root[root[i]];
        i = root[i];
    }
    i
}

/// Mean signed correlation of the pairs within `members`; undefined pairs are left out, `None` when all are.
#[must_use]
pub fn average_correlation(correlations: &Correlations, members: &[usize]) -> Option<f64> {
    let mut sum = 0.0;
    let mut count = 0_usize;
    for (at, &i) in members.iter().enumerate() {
        for &j in &members[at + 1..] {
            if let Some(value) = correlations.get(i, j) {
                sum += value;
                count += 1;
            }
        }
    }
    (count > 0).then(|| sum / count as f64)
}

/// Mean absolute correlation over all pairs; undefined pairs are left out, `None` when all are.
#[must_use]
pub fn overall_correlation(correlations: &Correlations) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for i in 0..correlations.n {
        let row = correlations.above_diagonal(i);
        sum += lanes::sum_by(row, |value| if value.is_nan() { 0.0 } else { value.abs() });
        count += lanes::sum_by(row, |value| if value.is_nan() { 0.0 } else { 1.0 });
    }
    (count > 0.0).then(|| sum / count)
}

/// Number of independent positions with the same diversification: `1 / (w' C w)` at equal weights.
///
/// Undefined pairs count as uncorrelated, the diagonal as 1. `n` when the denominator is not positive (positions that
/// cancel out), 0 for an empty matrix.
#[must_use]
pub fn effective_positions(correlations: &Correlations) -> f64 {
    let n = correlations.n as f64;
    let defined = |value: f64| if value.is_nan() { 0.0 } else { value };
    let off_diagonal: f64 = (0..correlations.n).map(|i| lanes::sum_by(correlations.above_diagonal(i), defined)).sum();
    let denominator = n + 2.0 * off_diagonal;
    if denominator > 0.0 { n * n / denominator } else { n }
}

/// Weighted mean absolute correlation: `sum(w_i w_j |rho_ij|) / sum(w_i w_j)` over the pairs that are defined.
///
/// Near 0 the positions are diversified, near 1 they are one bet. `weights` are gross values or shares of them (the sign
/// is ignored), one per column; equal weights when they sum to zero. `None` for fewer than two columns, a wrong number
/// of weights, or when no weighted pair is defined.
#[must_use]
pub fn diversification_score(correlations: &Correlations, weights: &[f64]) -> Option<f64> {
    if correlations.n < 2 || weights.len() != correlations.n {
        return None;
    }
    let total: f64 = weights.iter().map(|w| w.abs()).sum();
    let weights: Vec<f64> = weights.iter().map(|w| if total == 0.0 { 1.0 } else { w.abs() / total }).collect();
    let (mut numerator, mut denominator) = (0.0, 0.0);
    for (i, weight) in weights.iter().enumerate() {
        let (mut weighted, mut used) = (0.0, 0.0);
        for (value, other) in correlations.above_diagonal(i).iter().zip(&weights[i + 1..]) {
            let defined = !value.is_nan();
            weighted += if defined { other * value.abs() } else { 0.0 };
            used += if defined { *other } else { 0.0 };
        }
        numerator += weight * weighted;
        denominator += weight * used;
    }
    let score = numerator / denominator;
    score.is_finite().then_some(score)
}

/// Share of the gross value that stands in clusters: `sum |v_i|` over all members of `clusters` over the sum of all.
///
/// `values` are market values, one per column. `None` when they sum to zero.
#[must_use]
pub fn concentration_score(clusters: &[Vec<usize>], values: &[f64]) -> Option<f64> {
    let total: f64 = values.iter().map(|v| v.abs()).sum();
    let inside: f64 = clusters.iter().flatten().filter_map(|&i| values.get(i)).map(|v| v.abs()).sum();
    let score = inside / total;
    score.is_finite().then_some(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix from its off-diagonal entries, everything else uncorrelated.
    fn matrix(n: usize, entries: &[(usize, usize, f64)]) -> Correlations {
        let mut corr = Vec::new();
        for i in 0..n {
            for j in i..n {
                let given = entries.iter().find(|e| (e.0, e.1) == (i, j)).map(|e| e.2);
                corr.push(given.unwrap_or(if i == j { 1.0 } else { 0.0 }));
            }
        }
        let overlap = vec![90; corr.len()];
        Correlations { n, corr, overlap }
    }

    #[test]
    fn clusters_are_components_largest_first() {
        let c = matrix(7, &[(0, 5, 0.8), (1, 2, -0.9), (2, 6, 0.7), (3, 4, 0.69)]);
        assert_eq!(clusters(&c, 0.7), vec![vec![1, 2, 6], vec![0, 5]]);
    }

    #[test]
    fn equally_large_clusters_are_ordered_by_first_member() {
        let c = matrix(4, &[(1, 2, 0.9), (0, 3, 0.9)]);
        assert_eq!(clusters(&c, 0.7), vec![vec![0, 3], vec![1, 2]]);
    }

    #[test]
    fn undefined_pairs_are_left_out_of_means_and_are_no_edges() {
        let c = matrix(3, &[(0, 1, f64::NAN), (0, 2, -0.5), (1, 2, 0.25)]);
        assert_eq!(overall_correlation(&c), Some(0.375));
        assert_eq!(average_correlation(&c, &[0, 1, 2]), Some(-0.125));
        assert_eq!(average_correlation(&c, &[0, 1]), None);
        assert!(clusters(&c, 0.6).is_empty());
        let nothing = matrix(2, &[(0, 1, f64::NAN)]);
        assert_eq!(overall_correlation(&nothing), None);
        assert_eq!(diversification_score(&nothing, &[1.0, 1.0]), None);
    }

    #[test]
    fn exact_zeros_count_in_the_overall_correlation() {
        assert_eq!(overall_correlation(&matrix(3, &[(0, 1, 0.9)])), Some(0.3));
    }

    #[test]
    fn effective_positions_of_known_matrices() {
        assert_eq!(effective_positions(&matrix(4, &[])), 4.0);
        assert_eq!(effective_positions(&matrix(2, &[(0, 1, 1.0)])), 1.0);
        assert_eq!(effective_positions(&matrix(2, &[(0, 1, -1.0)])), 2.0);
        assert_eq!(effective_positions(&matrix(2, &[(0, 1, f64::NAN), (1, 1, f64::NAN)])), 2.0);
        assert_eq!(effective_positions(&matrix(0, &[])), 0.0);
    }

    #[test]
    fn diversification_weighs_pairs_by_gross_value() {
        let c = matrix(3, &[(0, 1, 0.5), (0, 2, -1.0)]);
        let expected = (2.0 * 0.5 + 1.0) / (2.0 + 1.0 + 2.0);
        let got = diversification_score(&c, &[1.0, -2.0, 1.0]).unwrap();
        assert!((got - expected).abs() < 1e-15);
        assert_eq!(diversification_score(&c, &[0.0; 3]), Some(0.5));
        assert_eq!(diversification_score(&c, &[1.0]), None);
        assert_eq!(diversification_score(&matrix(1, &[]), &[1.0]), None);
    }

    #[test]
    fn concentration_is_the_share_in_all_clusters() {
        assert_eq!(concentration_score(&[vec![0, 1], vec![3]], &[1.0, -2.0, 5.0, 2.0]), Some(0.5));
        assert_eq!(concentration_score(&[], &[0.0]), None);
    }
}
