//! What is made of many measured values.

/// The value in the middle; of an even number of values, the mean of the two. 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let values = sorted(values);
    let middle = values.len() / 2;
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// A value that a share of all do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    pub name: &'static str,
    per_mille: usize,
}

impl Quantile {
    pub const MEDIAN: Self = Self { name: "p50", per_mille: 500 };
    pub const P99: Self = Self { name: "p99", per_mille: 990 };
    pub const P999: Self = Self { name: "p99.9", per_mille: 999 };

    /// Values that must lie above it, so that it is not the whim of a few.
    const ABOVE: usize = 10;

    /// None of too few values.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        let above = values.len() * (1000 - self.per_mille) / 1000;
        (above >= Self::ABOVE).then(|| quantile(values, self.per_mille as f64 / 1000.0))
    }
}

/// The least value that at least `share` of all do not exceed. 0 of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let values = sorted(values);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or_default()
}

/// The median of the ratios of values that were measured side by side.
pub fn paired_ratio(ours: &[f64], peer: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect();
    median(&ratios)
}

/// The distribution as points: value, and the share of values up to it.
pub fn distribution(values: &[f64]) -> Vec<(f64, f64)> {
    const POINTS: u32 = 400;
    if values.is_empty() {
        return Vec::new();
    }
    let shares = (1..=POINTS).map(|step| f64::from(step) / f64::from(POINTS));
    shares.map(|share| (quantile(values, share), share)).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 500.0);
        assert_eq!(quantile(&values, 0.99), 990.0);
        assert_eq!(quantile(&values, 0.999), 999.0);
        assert_eq!(quantile(&values, 1.0), 1000.0);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_quantile_needs_values_above_it() {
        let values: Vec<f64> = (1..=10_000).map(f64::from).collect();
        let of = |quantile: Quantile, count| values.get(..count).and_then(|values| quantile.of(values));
        assert_eq!(of(Quantile::P999, 10_000), Some(9990.0));
        assert_eq!(of(Quantile::P999, 9999), None);
        assert_eq!(of(Quantile::P99, 1000), Some(990.0));
        assert_eq!(of(Quantile::P99, 999), None);
        assert_eq!(of(Quantile::MEDIAN, 20), Some(10.0));
        assert_eq!(of(Quantile::MEDIAN, 19), None);
    }

    /// Drift that hits both alike does not show.
    #[test]
    fn ratios_are_taken_side_by_side() {
        assert_eq!(paired_ratio(&[2.0, 20.0, 200.0], &[1.0, 10.0, 100.0]), 2.0);
    }

    #[test]
    fn a_distribution_rises_to_one() {
        let points = distribution(&[3.0, 1.0, 2.0]);
        assert_eq!(points.last(), Some(&(3.0, 1.0)));
        assert!(points.is_sorted());
    }
}
