//! Which server weights make a share. Pure.
//!
//! With one weight per side, a side of `n` servers of weight `w` has the share
//! `n·w / (n·w + m·v)`; HAProxy takes whole weights from 0 to 256. A share is rounded to the nearest
//! basis point, and the other side's is its complement, so that both sides agree on every pair.

use haldane_model::Weight;

const WEIGHT_MAX: u64 = 256;

/// The weight of every server of the first and of the second side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) first: u16,
    pub(super) second: u16,
}

/// Which side a share is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    First(Weight),
    Second(Weight),
}

/// Returns the second side's share from the summed weights of the two sides; `None` without any.
pub(super) fn share_of_second(first: u64, second: u64) -> Option<Weight> {
    let all = first + second;
    let points = (second * 10_000 + all / 2).checked_div(all)?;
    u32::try_from(points).ok()?.try_into().ok()
}

/// Returns the weights that come nearest to what is asked, and never above it but for everything;
/// `counts` are the servers of the first and of the second side, each at least 1.
pub(super) fn solve(asked: Asked, counts: [u64; 2]) -> Pair {
    let (share, own, other) = match asked {
        Asked::First(share) => (share, counts[0], counts[1]),
        Asked::Second(share) => (share, counts[1], counts[0]),
    };
    let (own, other) = match share {
        Weight::ZERO => (0, 1),
        Weight::FULL => (1, 0),
        share => nearest(asked, share, own, other),
    };
    match asked {
        Asked::First(_) => Pair { first: own, second: other },
        Asked::Second(_) => Pair { first: other, second: own },
    }
}

/// Returns the second side's share that a pair makes.
pub(super) fn made(pair: Pair, counts: [u64; 2]) -> Weight {
    share_of_second(u64::from(pair.first) * counts[0], u64::from(pair.second) * counts[1])
        .unwrap_or(Weight::ZERO)
}

/// For every weight of the other side, tries the largest own weight that does not exceed the share.
fn nearest(asked: Asked, share: Weight, own: u64, other: u64) -> (u16, u16) {
    let mut best = (Weight::ZERO, (0, 1));
    let points = u64::from(share.basis_points());
    for other_weight in 1..=WEIGHT_MAX {
        // own·n / (own·n + other·m) = p  →  own = p·other·m / ((1 − p)·n), half a point more for the
        // rounding; where that is met exactly it is rounded up, so one less is tried too.
        let exact = (2 * points + 1) * other_weight * other / ((19_999 - 2 * points) * own);
        let most = exact.min(WEIGHT_MAX);
        for own_weight in most.saturating_sub(1)..=most {
            let Some(made) = rounded(asked, own_weight * own, other_weight * other) else {
                continue;
            };
            // 0 and everything must be exact: a pair that only rounds to them is none.
            let whole = made == Weight::ZERO || made == Weight::FULL;
            if !whole && made <= share && made > best.0 {
                best = (made, (small(own_weight), small(other_weight)));
            }
        }
    }
    best.1
}

fn rounded(asked: Asked, own: u64, other: u64) -> Option<Weight> {
    match asked {
        Asked::First(_) => share_of_second(own, other).map(Weight::complement),
        Asked::Second(_) => share_of_second(other, own),
    }
}

fn small(weight: u64) -> u16 {
    u16::try_from(weight).expect("weights end at 256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(percent_points: u32) -> Asked {
        Asked::Second(Weight::from_basis_points(percent_points).unwrap())
    }

    #[test]
    fn whole_shares_need_small_weights() {
        let pair = |first, second| Pair { first, second };
        assert_eq!(solve(second(1_000), [3, 1]), pair(3, 1));
        assert_eq!(solve(second(2_500), [3, 1]), pair(1, 1));
        assert_eq!(solve(second(5_000), [3, 1]), pair(1, 3));
        assert_eq!(solve(second(0), [3, 1]), pair(1, 0));
        assert_eq!(solve(second(10_000), [3, 1]), pair(0, 1));
        assert_eq!(solve(Asked::First(Weight::FULL), [3, 1]), pair(1, 0));
    }

    #[test]
    fn never_more_than_asked_and_what_is_made_is_made_again() {
        for counts in [[1, 1], [3, 1], [7, 2], [2, 7], [7, 5], [100, 1], [1, 100], [8, 8]] {
            for points in (0..=10_000).step_by(37).chain([1, 9_999, 10_000]) {
                let share = Weight::from_basis_points(points).unwrap();
                let got = made(solve(Asked::Second(share), counts), counts);
                assert!(got <= share, "{counts:?} {points}: {got}");
                assert_eq!(
                    made(solve(Asked::Second(got), counts), counts),
                    got,
                    "{counts:?} {points}"
                );
                let got = made(solve(Asked::First(share), counts), counts).complement();
                assert!(got <= share, "{counts:?} {points}: {got}");
                assert_eq!(made(solve(Asked::First(got), counts), counts).complement(), got);
                assert_eq!(got == Weight::FULL, share == Weight::FULL);
            }
        }
    }

    #[test]
    fn common_shares_are_within_a_twentieth_of_a_point() {
        for counts in [[1, 1], [3, 1], [7, 2], [7, 5], [8, 8]] {
            for points in [500, 1_000, 2_500, 3_300, 5_000, 6_660] {
                let share = Weight::from_basis_points(points).unwrap();
                let got = made(solve(Asked::Second(share), counts), counts);
                assert!(got.distance(share).basis_points() <= 5, "{counts:?} {points}: {got}");
            }
        }
    }
}
