//! What has a limit: a look for each slot of the interval, as a rollout would have taken them.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use haldane_judge::{Stage, fold};
use haldane_model::{Answer, Check, Evidence, Sample, Verdict, Window};
use jiff::Timestamp;

use super::{Asking, Judged, Looks, Pace, on_grid, signed};

/// How many looks are under way at once.
const AT_ONCE: usize = 4;

/// Looks at every slot, and counts failures against the limits. A source that ceases to answer ends it.
pub(super) async fn judge(asking: &Asking<'_>, pace: &Pace) -> Judged {
    let slots = slots(asking, pace);
    if slots.is_empty() {
        let why = "the interval is shorter than two scrapes".to_owned();
        return asking.without(asking.answered(Answer::Nothing(why)));
    }
    let looks = slots.into_iter().map(|window| asking.look(window, None, None));
    let mut answers = stream::iter(looks).buffered(AT_ONCE);
    let mut counting = Counting::new(asking);
    while let Some(sample) = answers.next().await {
        if counting.add(&sample).is_break() {
            break;
        }
    }
    counting.judged(asking)
}

/// The windows of the looks: each as wide as a rollout's, and none reaching out of the interval.
fn slots(asking: &Asking<'_>, pace: &Pace) -> Vec<Window> {
    let two = pace.scrape * 2;
    let Window { begin, end } = asking.trial.window;
    let end = end.min(pace.there);
    let first = begin.checked_add(signed(two)).unwrap_or(Timestamp::MAX);
    let (mut at, mut slots) = (on_grid(first, pace.slot).0, Vec::new());
    while at <= end {
        let Window { begin: from, end } = window(asking, pace.scrape, at);
        slots.push(Window { begin: from.max(begin), end });
        let Ok(next) = at.checked_add(signed(pace.slot)) else { break };
        at = next;
    }
    slots
}

/// The window of a look that ends then: as wide as a rollout's.
pub(super) fn window(asking: &Asking<'_>, scrape: Duration, end: Timestamp) -> Window {
    let Check { window, interval, .. } = asking.check;
    let usual = (*interval).max(scrape * 4);
    let usual = usual.min(asking.shortest.unwrap_or(usual));
    let width = signed(window.unwrap_or(usual).max(scrape * 2));
    Window { begin: end.checked_sub(width).unwrap_or(Timestamp::MIN), end }
}

/// The looks so far.
struct Counting<'a, 'b> {
    asking: &'a Asking<'b>,
    evidence: Evidence,
    looks: Looks,
    crossed: Option<Timestamp>,
    finding: Option<haldane_model::Finding>,
}

// === impl Counting ===

impl<'a, 'b> Counting<'a, 'b> {
    fn new(asking: &'a Asking<'b>) -> Self {
        let (evidence, looks) = (Evidence::default(), Looks::default());
        Self { asking, evidence, looks, crossed: None, finding: None }
    }

    /// Adds a look; once the limits are exceeded nothing is left to find.
    fn add(&mut self, sample: &Sample) -> std::ops::ControlFlow<()> {
        let Check { name, limits, .. } = self.asking.check;
        let sample = Sample { share: self.asking.trial.share, ..sample.clone() };
        let rule = &self.asking.rule;
        let folded = fold(rule, limits, &Stage::default(), &self.evidence, name, &sample);
        self.evidence = folded.evidence;
        self.finding = Some(folded.finding);
        self.looks.taken += 1;
        match folded.verdict {
            Verdict::Pass => self.looks.passed += 1,
            Verdict::Fail { breach } => {
                self.looks.failed += 1;
                self.crossed = breach.then_some(sample.window.end);
            }
            Verdict::Inconclusive { .. } | Verdict::NoData | Verdict::CanaryLost => {}
            Verdict::SourceError => return std::ops::ControlFlow::Break(()),
        }
        match self.crossed {
            Some(_) => std::ops::ControlFlow::Break(()),
            None => std::ops::ControlFlow::Continue(()),
        }
    }

    fn judged(self, asking: &Asking<'_>) -> Judged {
        Judged {
            finding: self.finding.expect("there was a look at least"),
            dry_run: asking.check.dry_run,
            crossed: self.crossed,
            looks: Some(self.looks),
        }
    }
}
