//! How often the split is read.

use std::time::Duration;

use haldane_machine::needs;
use haldane_machine_tests::world::{Column, World, plan};
use haldane_model::{Place, Plan, Stamp};

#[track_caller]
fn reads_every(column: Column, change: impl Fn(&mut Plan), expected: Duration) {
    let mut plan = plan();
    change(&mut plan);
    let world = World::with(column, plan);
    assert_eq!(needs(&world.record, None).read_every, expected, "{column:?}");
}

fn paced(interval: u64, window: Option<u64>, bake: u64) -> impl Fn(&mut Plan) {
    move |plan| {
        for check in &mut plan.checks {
            check.interval = Duration::from_secs(interval);
            check.window = window.map(Duration::from_secs);
        }
        for step in &mut plan.steps {
            step.bake = Duration::from_secs(bake);
        }
    }
}

#[test]
fn a_held_share_is_read_ten_times_a_look_but_every_one_to_ten_seconds() {
    let seconds = Duration::from_secs;
    for (interval, window, bake, expected) in [
        (60, None, 600, 6),
        (10, None, 600, 1),
        (1, None, 600, 1),
        (3_600, None, 7_200, 10),
        (60, Some(20), 600, 2),
        (60, None, 30, 3),
    ] {
        for column in [Column::Waiting, Column::Baking, Column::Watching] {
            reads_every(column, paced(interval, window, bake), seconds(expected));
        }
    }
}

#[test]
fn what_waits_for_a_write_is_read_at_once() {
    for (column, millis) in
        [(Column::Shifting, 200), (Column::RollingBack, 200), (Column::Promoting, 1_000)]
    {
        reads_every(column, paced(3_600, None, 7_200), Duration::from_millis(millis));
    }
    let mut plan = plan();
    paced(3_600, None, 7_200)(&mut plan);
    let restoring = World::with(Column::Watching, plan).but(|world| {
        let since = Stamp { wall: world.now.wall, sources: Default::default() };
        world.record.place = Place::Watching { watched: Duration::ZERO, restore: Some(since) };
    });
    assert_eq!(needs(&restoring.record, None).read_every, Duration::from_secs(1));
}

#[test]
fn at_rest_and_before_an_attempt_no_plan_sets_the_pace() {
    for (column, pace) in [(Column::Healthy, 30), (Column::Degraded, 30), (Column::Pending, 1)] {
        reads_every(column, paced(3_600, None, 7_200), Duration::from_secs(pace));
    }
}
