//! Increases folded into windows: what each process counted in each.

use std::{collections::BTreeMap, sync::Arc};

use haldane_model::{Count, CountWindow, Window};
use jiff::Timestamp;

use super::{
    Span,
    histogram::{Bounds, Shape},
};

/// What one process counted between two scrapes; it lies at the later one.
#[derive(Clone, Debug)]
pub(super) struct Increase {
    pub(super) process: Arc<str>,
    pub(super) at: i64,
    pub(super) total: f64,
    pub(super) bad: Bad,
}

/// The bad ones among them.
#[derive(Clone, Debug)]
pub(super) enum Bad {
    Number(f64),
    Above(Shape),
}

/// One side's processes in one window.
type Processes = BTreeMap<Arc<str>, Count>;

/// Adds up increases, window by window; windows without any are left out.
pub(super) fn fold(
    span: Span,
    bounds: &Bounds,
    test: &[Increase],
    serving: &[Increase],
) -> Vec<CountWindow> {
    let mut windows: BTreeMap<i64, [Processes; 2]> = BTreeMap::new();
    for (at, increases) in [test, serving].into_iter().enumerate() {
        for increase in increases {
            let Some(end) = span.window_end(increase.at) else { continue };
            add(&mut windows.entry(end).or_default()[at], bounds, increase);
        }
    }
    let moment = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    let window = |(end, [test, serving]): (i64, [Processes; 2])| CountWindow {
        window: Window { begin: moment(end.saturating_sub(span.grid)), end: moment(end) },
        test: test.into_values().collect(),
        serving: serving.into_values().collect(),
    };
    windows.into_iter().map(window).collect()
}

fn add(processes: &mut Processes, bounds: &Bounds, increase: &Increase) {
    let process = increase.process.clone();
    let count = processes.entry(process.clone()).or_insert_with(|| Count {
        process,
        total: 0.0,
        bad: vec![0.0; bounds.len().unwrap_or(1)],
    });
    count.total += increase.total;
    match &increase.bad {
        Bad::Number(bad) => count.bad[0] += bad,
        Bad::Above(shape) => {
            for (sum, above) in count.bad.iter_mut().zip(bounds.above(shape)) {
                *sum += above;
            }
        }
    }
}
