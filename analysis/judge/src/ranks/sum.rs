//! The rank-sum test (Mann and Whitney, 1947; Wilcoxon, 1945).

use super::normal::normal_tail;

/// Up to how many samples a side the chance is counted and not approximated.
const EXACT_MAX: usize = 50;

/// Two sides, ranked together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// How many pairs have the side under test higher; a tie counts half.
    pub u: f64,
    /// How many samples the side under test has.
    pub test: usize,
    /// How many samples the serving side has.
    pub serving: usize,
    /// The standard deviation of `u` where both sides are alike, ties accounted for.
    pub sigma: f64,
    /// Whether no two samples are equal.
    pub distinct: bool,
}

/// Ranks two sides together; `None` where a side is empty or a sample is not finite.
#[must_use]
pub fn rank_sum(test: &[f64], serving: &[f64]) -> Option<RankSum> {
    if test.is_empty() || serving.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> = test.iter().map(|value| (*value, true)).collect();
    all.extend(serving.iter().map(|value| (*value, false)));
    if all.iter().any(|(value, _)| !value.is_finite()) {
        return None;
    }
    all.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    let (n, m) = (test.len() as f64, serving.len() as f64);
    let (mut ranks, mut ties, mut seen) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|(left, _), (right, _)| left == right) {
        let size = group.len() as f64;
        let ours = group.iter().filter(|(_, test)| *test).count() as f64;
        ranks += ours * (seen + (size + 1.0) / 2.0);
        ties += size.powi(3) - size;
        seen += size;
    }
    let spread = (n + m + 1.0) - ties / ((n + m) * (n + m - 1.0));
    Some(RankSum {
        u: ranks - n * (n + 1.0) / 2.0,
        test: test.len(),
        serving: serving.len(),
        sigma: (n * m / 12.0 * spread).max(0.0).sqrt(),
        distinct: ties == 0.0,
    })
}

// === impl RankSum ===

impl RankSum {
    /// Returns the chance of a `u` this high or higher where both sides are alike.
    #[must_use]
    pub fn greater(&self) -> f64 {
        self.greater_exact().unwrap_or_else(|| self.greater_normal())
    }

    /// Returns the chance of a `u` this far from the middle or further where both sides are alike.
    #[must_use]
    pub fn two_sided(&self) -> f64 {
        let far = Self { u: self.u.max(self.pairs() - self.u), ..*self };
        (2.0 * far.greater()).min(1.0)
    }

    /// Returns the chance that a sample of the side under test is the higher one of a pair.
    #[must_use]
    pub fn cles(&self) -> f64 {
        self.u / self.pairs()
    }

    /// Counts the chance; `None` with ties, or with more than 50 samples a side.
    #[must_use]
    pub fn greater_exact(&self) -> Option<f64> {
        if !self.distinct || self.test.max(self.serving) > EXACT_MAX {
            return None;
        }
        let pairs = self.test * self.serving;
        let u = self.u as usize;
        // The distribution is symmetric: the shorter tail is counted, the other is what remains.
        if 2 * u > pairs {
            Some(tail(pairs - u, self.test, self.serving))
        } else if u == 0 {
            Some(1.0)
        } else {
            Some(1.0 - tail(u - 1, self.test, self.serving))
        }
    }

    /// Approximates the chance by the normal distribution, with the correction for steps of one.
    #[must_use]
    pub fn greater_normal(&self) -> f64 {
        let above = self.u - self.pairs() / 2.0 - 0.5;
        if self.sigma == 0.0 { 1.0 } else { normal_tail(above / self.sigma) }
    }

    fn pairs(&self) -> f64 {
        self.test as f64 * self.serving as f64
    }
}

/// Returns the chance that U is at most `most`, of all orders of n and m distinct samples.
///
/// The highest sample is either of n, and beats all m, or of m:
/// f(u; n, m) = f(u - m; n - 1, m) + f(u; n, m - 1). Sums only, so that no digit cancels.
fn tail(most: usize, n: usize, m: usize) -> f64 {
    let mut ways = vec![unit(most); m + 1];
    for _ in 0..n {
        ways[0] = unit(most);
        for beaten in 1..=m {
            let (before, from) = ways.split_at_mut(beaten);
            let here = &mut from[0];
            here.rotate_right(beaten.min(most + 1));
            here[..beaten.min(most + 1)].fill(0.0);
            for (way, other) in here.iter_mut().zip(&before[beaten - 1]) {
                *way += other;
            }
        }
    }
    let total = (1..=n).fold(1.0, |total, i| total * (m + i) as f64 / i as f64);
    ways[m].iter().sum::<f64>() / total
}

fn unit(most: usize) -> Vec<f64> {
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chances_of_all_values_add_up_to_one() {
        for (n, m) in [(1, 1), (3, 5), (7, 4), (50, 50)] {
            let all = tail(n * m, n, m);
            assert!((all - 1.0).abs() < 1e-12, "{n} and {m}: {all}");
        }
    }

    #[test]
    fn the_two_tails_share_the_middle() {
        let at = |u: f64| RankSum { u, test: 6, serving: 7, sigma: 7.0, distinct: true };
        for u in 0..42 {
            let above = at(f64::from(u + 1)).greater_exact().unwrap();
            let mirrored = at(f64::from(42 - u)).greater_exact().unwrap();
            assert!((above + mirrored - 1.0).abs() < 1e-12, "at {u}: {above} and {mirrored}");
        }
    }

    #[test]
    fn a_side_without_samples_or_with_an_infinite_one_cannot_be_ranked() {
        assert_eq!(rank_sum(&[], &[1.0]), None);
        assert_eq!(rank_sum(&[1.0], &[]), None);
        assert_eq!(rank_sum(&[f64::NAN], &[1.0]), None);
        assert_eq!(rank_sum(&[1.0], &[f64::INFINITY]), None);
    }

    #[test]
    fn where_all_are_equal_nothing_is_unlikely() {
        let alike = rank_sum(&[1.0; 5], &[1.0; 9]).unwrap();
        assert_eq!((alike.greater(), alike.two_sided(), alike.cles()), (1.0, 1.0, 0.5));
    }
}
