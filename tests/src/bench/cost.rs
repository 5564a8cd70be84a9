//! What one decision costs.

use std::{hint::black_box, time::Instant};

use haldane_machine::{Change, decide};
use haldane_model::{Cause, Evidence, Verdict};

use super::spread::Spread;
use haldane_machine_tests::world::{Column, Told, World, check, plan};

/// How many calls make a batch, and how many batches are measured.
const CALLS: u32 = 500;
const BATCHES: usize = 400;

/// One kind of turn.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Which.
    pub turn: &'static str,
    /// Nanoseconds a call, batch by batch.
    pub nanos: Spread,
}

/// Measures every kind of turn.
#[must_use]
pub fn measure() -> Vec<Cost> {
    let kinds = [
        ("at rest (Healthy)", rest()),
        ("idle, baking, 1 check", baking(1)),
        ("idle, baking, 8 checks", baking(8)),
        ("a breach, which begins a rollback", breach()),
    ];
    kinds.into_iter().map(|(turn, world)| Cost { turn, nanos: time(&world) }).collect()
}

fn rest() -> World {
    let world = World::at(Column::Healthy).settled().later(1);
    let decision = world.turn();
    assert!(decision.entries.is_empty() && decision.effects.is_empty(), "nothing happens at rest");
    world
}

fn baking(checks: usize) -> World {
    let mut plan = plan();
    plan.checks = (0..checks).map(|at| check(&format!("check-{at}"))).collect();
    let world = World::with(Column::Baking, plan).won().later(1);
    // What a check of a real rollout leaves behind is some hundred bytes.
    let world = world.but(|world| {
        let evidence = Evidence::from(vec![b'x'; 300]);
        world.checks().for_each(|seen| seen.evidence = evidence.clone());
    });
    let decision = world.turn();
    assert!(decision.entries.is_empty() && decision.effects.is_empty(), "an idle turn is idle");
    assert_eq!(decision.change, Change::Progress, "time counts while it bakes");
    world
}

fn breach() -> World {
    let world = World::at(Column::Baking).won().later(1);
    let world = world.verdict(Verdict::Fail { breach: true });
    let decision = world.turn();
    assert!(decision.rolls_back(), "a breach lowers first: {:?}", Cause::Breach);
    world
}

fn time(world: &World) -> Spread {
    let batch = || {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(decide(black_box(&world.record), black_box(&world.seen), world.now));
        }
        begin.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    // The first batches warm the caches.
    Spread::of((0..BATCHES + 20).map(|_| batch()).skip(20))
}
