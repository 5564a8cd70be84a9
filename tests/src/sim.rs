//! The simulated world: one rollout, its engine processes, and everything around them that can fail.
//!
//! Promises: one seed is one history, to the millisecond; what is checked is checked against the
//! world's own truth, never against what an engine believes. Never: a clock, a thread, a socket.

pub mod cover;
mod faults;
mod history;
mod plan;
mod process;
mod provider;
mod rng;
mod source;
mod store;
mod truth;
mod world;

pub use self::{
    faults::Weather,
    plan::{Shape, plan},
    rng::Rng,
    source::Mood,
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

/// Lives through the history of one seed: ten minutes with faults, then peace until it ends.
#[must_use]
pub fn live(seed: u64, tracing: bool) -> Ended {
    let mut rng = Rng::new(seed);
    let shape = Shape::draw(&mut rng);
    let mut world = World::new(rng, shape, tracing);
    world.weather = Weather::draw(&mut world.rng);
    world.schedule_faults();
    world.start_process();
    world.run_to(world.peace_at);
    world.make_peace();
    world.run_to_the_end();
    world.end()
}
