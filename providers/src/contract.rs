//! What every provider promises, as one suite that each runs against its real server.
//!
//! It panics at the first broken promise, with the promise in words. It needs a bench with two live
//! sides, and leaves it with a share of 0 for the second side.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Direction, Mark, Reading, Split, Weight};

use crate::{Error, Roles, Sides, TrafficProvider};

/// How much later than its deadline a call may end on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

/// A provider in front of something real.
pub trait Bench {
    /// The provider under test.
    fn provider(&self) -> Arc<dyn TrafficProvider>;
    /// Its two sides.
    fn sides(&self) -> Sides;
    /// Sets the second side's share as a person would, past the provider.
    fn foreign_write(&self, share: Weight);
}

/// Checks every promise, each on a fresh bench.
///
/// # Panics
/// At the first promise that does not hold.
pub async fn check<B: Bench>(make: impl Fn() -> B) {
    Trial::new(&make()).preflight_changes_nothing().await;
    Trial::new(&make()).what_is_written_is_read().await;
    Trial::new(&make()).representable_never_exceeds().await;
    Trial::new(&make()).a_mark_comes_back().await;
    Trial::new(&make()).repeating_is_harmless().await;
    Trial::new(&make()).lowering_after_a_raise_wins().await;
    Trial::new(&make()).a_raise_never_covers_a_newer_rollback().await;
    Trial::new(&make()).both_sides_may_be_asked_for().await;
    Trial::new(&make()).cleaning_up_moves_no_traffic().await;
    let bench = make();
    Trial::new(&bench).a_foreign_write_keeps_the_mark(&bench).await;
}

/// One promise's tools.
struct Trial {
    provider: Arc<dyn TrafficProvider>,
    sides: Sides,
}

// === impl Trial ===

impl Trial {
    fn new(bench: &impl Bench) -> Self {
        Self { provider: bench.provider(), sides: bench.sides() }
    }

    async fn preflight_changes_nothing(self) {
        let before = self.read().await;
        let first = self.within(self.provider.preflight()).await.expect("preflight finds nothing");
        let again = self.within(self.provider.preflight()).await.expect("nor does it again");
        assert_eq!(first, again, "preflight finds the same twice");
        assert_eq!(still(before), still(self.read().await), "preflight changes nothing");
    }

    async fn what_is_written_is_read(self) {
        for (number, points) in
            [0, 10_000, 2_500, 1_000, 5_000, 9_999, 1, 0].into_iter().enumerate()
        {
            let asked = self.second(points);
            let made = self.provider.representable(&asked);
            self.raise(made.clone(), number as u64).await;
            let reading = self.read().await;
            assert_eq!(reading.range_of(&made.side), (made.share, made.share), "{asked:?}");
            assert_eq!(reading.acknowledged, self.provider.capabilities().acknowledged);
            assert!(reading.silent_parts().next().is_none(), "every part tells: {reading:?}");
        }
        self.lower_to_nothing(99).await;
    }

    async fn representable_never_exceeds(self) {
        for points in 0..=10_000 {
            for side in [&self.sides.first, &self.sides.second] {
                let asked = Split::new(side.clone(), weight(points));
                let made = self.provider.representable(&asked);
                assert_eq!(made.side, asked.side, "the side stays");
                assert!(made.share <= asked.share, "{asked:?} became {made:?}");
                assert_eq!(self.provider.representable(&made), made, "what can be made is made");
                if points == 0 || points == 10_000 {
                    assert_eq!(made, asked, "nothing and everything are exact");
                }
            }
        }
    }

    async fn a_mark_comes_back(self) {
        let signed = self.provider.capabilities().signed;
        let mark_is = async |mark: Mark| {
            assert_eq!(
                self.read().await.mark,
                signed.then_some(mark),
                "the mark of the last write"
            );
        };
        for number in [7, 9, u64::MAX - 1] {
            let split = self.provider.representable(&self.second(2_500));
            self.raise(split, number).await;
            mark_is(Mark::raise(number)).await;
            self.lower_to_nothing(number + 1).await;
            mark_is(Mark::rollback(number + 1)).await;
        }
    }

    async fn repeating_is_harmless(self) {
        let split = self.provider.representable(&self.second(5_000));
        self.raise(split.clone(), 1).await;
        let once = self.read().await;
        for _ in 0..3 {
            self.raise(split.clone(), 1).await;
        }
        assert_eq!(still(once), still(self.read().await), "a repeated write changes nothing");
    }

    async fn lowering_after_a_raise_wins(self) {
        for number in 0..20 {
            self.raise(self.second(10_000), 2 * number).await;
            self.lower_to_nothing(2 * number + 1).await;
            let reading = self.read().await;
            assert_eq!(reading.highest, Weight::ZERO, "the lowering write is the last word");
            if self.provider.capabilities().signed {
                assert_eq!(reading.mark, Some(Mark::rollback(2 * number + 1)));
            }
        }
        // A lowering write also overtakes a raise that nobody waits for any more.
        for number in 50..60 {
            let raise =
                self.provider.write(self.second(10_000), Direction::Raise, Mark::raise(2 * number));
            let _ = tokio::time::timeout(Duration::from_micros(300), raise).await;
            self.lower_to_nothing(2 * number + 1).await;
            let signed = self.provider.capabilities().signed;
            if !signed && self.read().await.highest != Weight::ZERO {
                // Nothing told it apart from a newer one: it was carried out late. Who reads that
                // lowers once more.
                self.lower_to_nothing(2 * number + 1).await;
            }
            assert_eq!(self.read().await.highest, Weight::ZERO, "an abandoned raise has no effect");
        }
    }

    /// A late raise on top of a rollback would take the signature away by which it is found.
    async fn a_raise_never_covers_a_newer_rollback(self) {
        if !self.provider.capabilities().signed {
            return;
        }
        self.raise(self.second(2_500), 5).await;
        self.lower_to_nothing(7).await;
        for number in [5, 6, 7] {
            let late = self.write(self.second(5_000), Direction::Raise, Mark::raise(number)).await;
            assert!(matches!(late, Err(Error::Conflict(_))), "a late raise is refused: {late:?}");
            let reading = self.read().await;
            let found = (reading.highest, reading.mark);
            assert_eq!(found, (Weight::ZERO, Some(Mark::rollback(7))), "the rollback stands");
        }
        self.raise(self.second(2_500), 8).await;
        assert_eq!(self.read().await.mark, Some(Mark::raise(8)), "one that knows it goes on");
        self.lower_to_nothing(9).await;
    }

    async fn both_sides_may_be_asked_for(self) {
        let asked = Split::new(self.sides.first.clone(), weight(2_500));
        let made = self.provider.representable(&asked);
        self.raise(made.clone(), 1).await;
        let reading = self.read().await;
        assert_eq!(reading.range_of(&self.sides.first), (made.share, made.share));
        let rest = made.share.complement();
        assert_eq!(reading.range_of(&self.sides.second), (rest, rest));
        self.lower_to_nothing(2).await;
    }

    async fn cleaning_up_moves_no_traffic(self) {
        let before = self.within(self.provider.preflight()).await.expect("a snapshot");
        let split = self.provider.representable(&self.second(2_500));
        self.raise(split.clone(), 3).await;
        let roles = Roles { test: self.sides.second.clone(), home: self.sides.first.clone() };
        for _ in 0..2 {
            self.within(self.provider.finish(roles.clone())).await.expect("finish");
        }
        for _ in 0..2 {
            self.within(self.provider.release(before.clone())).await.expect("release");
        }
        let reading = self.read().await;
        assert_eq!((reading.lowest, reading.highest), (split.share, split.share));
        assert_eq!(reading.mark, None, "nothing of ours stays but the weights");
        self.lower_to_nothing(4).await;
        let signed = self.provider.capabilities().signed;
        let mark = signed.then_some(Mark::rollback(4));
        assert_eq!(self.read().await.mark, mark, "and it can be driven again");
    }

    async fn a_foreign_write_keeps_the_mark(self, bench: &impl Bench) {
        let split = self.provider.representable(&self.second(2_500));
        self.raise(split.clone(), 17).await;
        bench.foreign_write(weight(5_000));
        let reading = self.read().await;
        assert_eq!((reading.lowest, reading.highest), (weight(5_000), weight(5_000)));
        let signed = self.provider.capabilities().signed;
        let old = signed.then_some(Mark::raise(17));
        assert_eq!(reading.mark, old, "another share under the old mark is not ours");
        self.lower_to_nothing(18).await;
        assert_eq!(self.read().await.highest, Weight::ZERO);
    }

    fn second(&self, points: u32) -> Split {
        Split::new(self.sides.second.clone(), weight(points))
    }

    async fn raise(&self, split: Split, number: u64) {
        let raise = || self.write(split.clone(), Direction::Raise, Mark::raise(number));
        // A busy machine may need another try; a healthy provider does not need many.
        for _ in 0..5 {
            match raise().await {
                Err(Error::Unavailable(_)) => {}
                done => return done.expect("a raising write"),
            }
        }
        raise().await.expect("a raising write");
    }

    async fn lower_to_nothing(&self, number: u64) {
        let lowered = self.write(self.second(0), Direction::Lower, Mark::rollback(number)).await;
        lowered.expect("a lowering write");
    }

    async fn write(&self, split: Split, way: Direction, mark: Mark) -> Result<(), Error> {
        self.within(self.provider.write(split, way, mark)).await
    }

    async fn read(&self) -> Reading {
        self.within(self.provider.read()).await.expect("a read")
    }

    /// Every call ends by itself, in time.
    async fn within<T>(&self, call: impl Future<Output = T>) -> T {
        let deadline = self.provider.capabilities().write_deadline + SLACK;
        let begin = Instant::now();
        let done = tokio::time::timeout(2 * deadline, call).await.expect("a call that ends");
        assert!(begin.elapsed() < deadline, "a call ends within the deadline");
        done
    }
}

/// A reading without what time alone changes.
fn still(reading: Reading) -> Reading {
    Reading { settled: true, ..reading }
}

fn weight(points: u32) -> Weight {
    Weight::from_basis_points(points).expect("a share of the suite")
}
