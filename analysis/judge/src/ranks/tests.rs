//! What holds for any samples.

use proptest::{collection::vec, prelude::*};

use super::{rank_sum, shift};

/// Small whole numbers, so that ties are frequent and sums exact.
fn samples() -> impl Strategy<Value = Vec<f64>> {
    vec((-20i32..20).prop_map(f64::from), 1..14)
}

proptest! {
    #[test]
    fn exchanged_sides_give_the_opposite(test in samples(), serving in samples()) {
        let (one, other) = (rank_sum(&test, &serving).unwrap(), rank_sum(&serving, &test).unwrap());
        prop_assert_eq!(one.u + other.u, (test.len() * serving.len()) as f64);
        prop_assert_eq!(one.sigma, other.sigma);
        let one = shift(&test, &serving, 0.98).unwrap();
        let other = shift(&serving, &test, 0.98).unwrap();
        prop_assert_eq!((one.low, one.high), (-other.high, -other.low));
        prop_assert_eq!(one.estimate, -other.estimate);
    }

    #[test]
    fn the_order_of_samples_changes_nothing(test in samples(), serving in samples()) {
        let mut turned = test.clone();
        turned.reverse();
        prop_assert_eq!(rank_sum(&test, &serving), rank_sum(&turned, &serving));
        prop_assert_eq!(shift(&test, &serving, 0.98), shift(&turned, &serving, 0.98));
    }

    #[test]
    fn a_higher_sample_never_lowers_what_is_said(
        test in samples(), serving in samples(), at in any::<prop::sample::Index>(), by in 1i32..9
    ) {
        let mut higher = test.clone();
        *at.get_mut(&mut higher) += f64::from(by);
        let u = |test: &[f64]| rank_sum(test, &serving).unwrap().u;
        prop_assert!(u(&higher) >= u(&test));
        let estimate = |test: &[f64]| shift(test, &serving, 0.98).unwrap().estimate;
        prop_assert!(estimate(&higher) >= estimate(&test));
    }

    #[test]
    fn u_is_the_number_of_pairs_won(test in samples(), serving in samples()) {
        let won = |ours: f64, theirs: f64| {
            f64::from(u8::from(ours > theirs)) + 0.5 * f64::from(u8::from(ours == theirs))
        };
        let against = |ours: &f64| -> f64 { serving.iter().map(|theirs| won(*ours, *theirs)).sum() };
        let pairs: f64 = test.iter().map(against).sum();
        prop_assert_eq!(rank_sum(&test, &serving).unwrap().u, pairs);
    }

    #[test]
    fn chances_are_chances_and_an_interval_holds_its_estimate(
        test in samples(), serving in samples()
    ) {
        let ranks = rank_sum(&test, &serving).unwrap();
        for chance in [ranks.greater(), ranks.two_sided(), ranks.cles()] {
            prop_assert!((0.0..=1.0).contains(&chance), "{chance}");
        }
        let shift = shift(&test, &serving, 0.98).unwrap();
        prop_assert!(shift.low <= shift.estimate && shift.estimate <= shift.high);
    }
}
