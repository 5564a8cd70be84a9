//! The simulated world: one rollout, its engine processes, and everything around them that can fail.
//!
//! Promises: one seed is one history, to the millisecond; what is checked is checked against the
//! world's own truth, never against what an engine believes. Never: a clock, a thread, a socket.

pub mod cover;
mod faults;
mod gates;
mod goal;
mod history;
mod peace;
mod plan;
mod process;
mod provider;
mod recorded;
mod rng;
mod source;
mod store;
mod truth;
mod world;

pub use self::{
    faults::{Change, Weather},
    gates::Answers,
    goal::Goal,
    plan::{COMPARED, Compared, Shape, Wait, plan},
    provider::Pace,
    rng::Rng,
    source::{Mood, SourceClock},
    world::{Ev, Proc, World},
};

/// How a history ended.
#[derive(Debug)]
pub struct Ended {
    /// What was broken, if anything.
    pub violation: Option<String>,
    /// The history, where it was asked for.
    pub trace: Vec<String>,
    /// What was met on the way.
    pub cover: cover::Cover,
    /// How many inputs were handled.
    pub inputs: u64,
}

/// Lives through the history of one seed: a few minutes with faults, then peace until it ends.
///
/// Every other seed is steered to a cell of the table, one cell after the other, and to a fault there.
#[must_use]
pub fn live(seed: u64, tracing: bool) -> Ended {
    let mut rng = Rng::new(seed);
    let goal = Goal::of(seed);
    let shape = match goal {
        Some(goal) => goal.shape(&mut rng),
        None => Shape::draw(&mut rng),
    };
    let mut world = World::new(rng, shape, tracing);
    world.source_clock = SourceClock::draw(&mut world.rng);
    if let Some(goal) = goal {
        world.steer(goal);
    } else {
        world.weather = Weather::draw(&mut world.rng);
        world.pace = Pace::draw(&mut world.rng);
        world.schedule_faults();
    }
    world.start_process();
    while world.now < world.peace_at && world.violation().is_none() {
        let next = world.peace_at.min(world.now + 10_000);
        world.run_to(next);
    }
    world.make_peace();
    world.run_to_the_end();
    world.end()
}
