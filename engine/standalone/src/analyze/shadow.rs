//! A rollout's analysis, live and without a rollout: the split is read and taken for the step, the
//! checks are asked as a rollout would ask them, and what they would do is told. Nothing is written.

use std::{future::Future, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use haldane_judge::{Stage, Together, fold, folded_to, together};
use haldane_model::{Answer, Evidence, Plan, Sample, Verdict, Weight, Window};
use haldane_sources::LookSides;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::{
    Analysis, Asking, Judged, Pace, Trial, compared, conclude, limits, on_grid, signed, sources,
    split::{Splits, is_asked_at},
};

/// How often the split is read.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How soon a source that could not be asked is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Something that changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// The side on trial has another share.
    Share(Weight),
    /// The split cannot be read, and why; what was read last is taken to hold.
    Unread(String),
    /// A check says something else.
    Judged(Weight, Box<Judged>),
    /// The comparing checks show together what none shows alone.
    Together(Weight, Together),
}

/// What asking gave.
enum Asked {
    Split(Result<Weight, String>),
    /// Which check, how it can be asked, and what it answered; no answer: no new window.
    Look(usize, Option<Timing>, Option<Box<Sample>>),
}

/// How a check is asked, once its source told.
#[derive(Clone, Copy, Debug)]
struct Timing {
    scrape: Duration,
    slot: Duration,
    ahead: SignedDuration,
}

/// One check that is followed.
struct Followed {
    timing: Option<Timing>,
    evidence: Evidence,
    crossed: Option<Timestamp>,
    judged: Option<Judged>,
    told: Option<Verdict>,
    due: Instant,
    asking: bool,
}

/// All that is known while it is followed.
struct Shadow<'a> {
    plan: &'a Plan,
    askings: &'a [Asking<'a>],
    followed: Vec<Followed>,
    share: Weight,
    /// Grows with every change of the share; since when it stands.
    step: u32,
    since: Timestamp,
    unread: bool,
    together: Option<(Timestamp, Together)>,
}

/// Follows the analysis of a plan until `end`, and tells what changes. The error is a plan that cannot
/// be asked, or a split that cannot be read at the begin.
pub async fn follow(
    plan: &Plan,
    sides: &LookSides,
    end: impl Future<Output = ()>,
    mut tell: impl FnMut(Change),
) -> Result<Analysis, String> {
    let splits = Splits::of(plan)?;
    let share = splits.share(&sides.test).await?;
    let sources = sources(plan, false)?;
    let now = Timestamp::now();
    let window = Window { begin: now, end: Timestamp::MAX };
    let trial = Trial { window, sides: sides.clone(), share: None };
    let askings = plan.checks.iter().map(|check| Asking::new(plan, check, &trial, &sources));
    let askings = askings.collect::<Result<Vec<_>, _>>()?;
    let mut shadow = Shadow::new(plan, &askings, share, now);
    tell(Change::Share(share));
    let mut questions = FuturesUnordered::new();
    questions.push(read(&splits, sides, Duration::ZERO));
    tokio::pin!(end);
    loop {
        questions.extend(shadow.ask());
        tokio::select! {
            () = &mut end => break,
            Some(asked) = questions.next() => match asked {
                Asked::Split(read_now) => {
                    shadow.moved(read_now, &mut tell);
                    questions.push(read(&splits, sides, READ_EVERY));
                }
                Asked::Look(at, timing, sample) => shadow.answered(at, timing, sample, &mut tell),
            },
            () = sleep_until(shadow.due()) => {}
        }
    }
    Ok(shadow.concluded())
}

fn read<'a>(splits: &'a Splits, sides: &'a LookSides, after: Duration) -> BoxFuture<'a, Asked> {
    Box::pin(async move {
        tokio::time::sleep(after).await;
        Asked::Split(splits.share(&sides.test).await)
    })
}

// === impl Shadow ===

impl<'a> Shadow<'a> {
    fn new(plan: &'a Plan, askings: &'a [Asking<'a>], share: Weight, now: Timestamp) -> Self {
        let followed = askings.iter().map(|_| Followed {
            timing: None,
            evidence: Evidence::default(),
            crossed: None,
            judged: None,
            told: None,
            due: Instant::now(),
            asking: false,
        });
        let followed = followed.collect();
        Self { plan, askings, followed, share, step: 0, since: now, unread: false, together: None }
    }

    fn is_asked(&self, at: usize) -> bool {
        is_asked_at(self.plan, self.askings[at].check, self.share)
    }

    /// The next moment at which something is to be asked.
    fn due(&self) -> Instant {
        let waiting = (0..self.followed.len()).filter(|at| self.is_asked(*at));
        let due = waiting.map(|at| &self.followed[at]).filter(|one| !one.asking);
        due.map(|one| one.due).min().unwrap_or_else(|| Instant::now() + READ_EVERY)
    }

    /// Asks the checks that are due.
    fn ask(&mut self) -> Vec<BoxFuture<'a, Asked>> {
        let now = Instant::now();
        let mut asked: Vec<BoxFuture<'a, Asked>> = Vec::new();
        for at in 0..self.followed.len() {
            if self.followed[at].asking || self.followed[at].due > now || !self.is_asked(at) {
                continue;
            }
            let (asking, one) = (&self.askings[at], &mut self.followed[at]);
            one.asking = true;
            let (timing, evidence) = (one.timing, one.evidence.clone());
            asked.push(Box::pin(async move {
                let (timing, sample) = look(asking, timing, &evidence).await;
                Asked::Look(at, timing, sample.map(Box::new))
            }));
        }
        asked
    }

    /// Takes what the split was read to be. What was compared at another share is another step.
    fn moved(&mut self, read: Result<Weight, String>, tell: &mut impl FnMut(Change)) {
        let share = match read {
            Ok(share) => share,
            Err(why) => {
                if !std::mem::replace(&mut self.unread, true) {
                    tell(Change::Unread(why));
                }
                return;
            }
        };
        if std::mem::take(&mut self.unread) || share != self.share {
            tell(Change::Share(share));
        }
        if share == self.share {
            return;
        }
        self.share = share;
        self.step += 1;
        self.since = Timestamp::now();
        for at in (0..self.followed.len()).filter(|at| !self.is_asked(*at)).collect::<Vec<_>>() {
            let one = &mut self.followed[at];
            (one.evidence, one.judged, one.told) = (Evidence::default(), None, None);
        }
    }

    fn answered(
        &mut self,
        at: usize,
        timing: Option<Timing>,
        sample: Option<Box<Sample>>,
        tell: &mut impl FnMut(Change),
    ) {
        let one = &mut self.followed[at];
        one.asking = false;
        one.timing = timing;
        one.due =
            Instant::now() + timing.map_or(AGAIN, |timing| timing.until_next(&self.askings[at]));
        if !self.is_asked(at) {
            return;
        }
        let Some(sample) = sample else { return };
        let stage = self.stage(timing.map_or(SignedDuration::ZERO, |timing| timing.ahead));
        let Asking { check, rule, .. } = &self.askings[at];
        let one = &mut self.followed[at];
        let sample = Sample { share: Some(self.share), ..*sample };
        let folded = fold(rule, &check.limits, &stage, &one.evidence, &check.name, &sample);
        one.evidence = folded.evidence;
        if folded.verdict.is_breach() && one.crossed.is_none() {
            one.crossed = Some(sample.window.end);
        }
        let judged = Judged {
            finding: folded.finding,
            dry_run: check.dry_run,
            crossed: one.crossed,
            looks: None,
        };
        one.judged = Some(judged.clone());
        if one.told.replace(folded.verdict) != Some(folded.verdict) {
            tell(Change::Judged(self.share, Box::new(judged)));
        }
        self.judge_together(sample.window.end, tell);
    }

    /// What the comparing checks show together, told once.
    fn judge_together(&mut self, end: Timestamp, tell: &mut impl FnMut(Change)) {
        let all = self.askings.iter().zip(&self.followed);
        let deciding = all.filter(|(asking, _)| !asking.check.dry_run && asking.rule.compares());
        let parts: Vec<_> = deciding
            .map(|(asking, one)| (&asking.check.name, &asking.rule, &one.evidence))
            .collect();
        let alone = self.followed.iter().any(|one| one.crossed.is_some());
        if self.together.is_some() || alone {
            return;
        }
        if let Some(shown) = together(&parts) {
            tell(Change::Together(self.share, shown.clone()));
            self.together = Some((end, shown));
        }
    }

    /// The present split as a step of the plan: what comes next is the first step above it.
    fn stage(&self, ahead: SignedDuration) -> Stage {
        let above = |step: &&haldane_model::Step| step.weight > self.share;
        Stage {
            step: self.step,
            weight: self.share,
            next: self.plan.steps.iter().find(above).map(|step| step.weight),
            windows_from: self.since.checked_add(ahead).unwrap_or(self.since),
            gates: true,
        }
    }

    fn concluded(self) -> Analysis {
        let asked = (0..self.followed.len()).filter(|at| self.is_asked(*at)).collect::<Vec<_>>();
        let checks = asked.into_iter().map(|at| {
            let never = || {
                let now = Timestamp::now();
                let asking = &self.askings[at];
                let why = Answer::Nothing("no look was answered yet".to_owned());
                let sample = asking.answered(why);
                asking.without(Sample { window: Window { begin: self.since, end: now }, ..sample })
            };
            self.followed[at].judged.clone().unwrap_or_else(never)
        });
        let checks: Vec<Judged> = checks.collect();
        let exposed = self.share > Weight::ZERO;
        let together = self.together.clone();
        let conclusion = conclude(&self.plan.policies, &checks, together.is_some(), exposed);
        Analysis { conclusion, checks, together, policies: self.plan.policies }
    }
}

// === impl Timing ===

impl Timing {
    fn of(pace: &Pace) -> Self {
        let ahead = pace.there.duration_since(Timestamp::now());
        Self { scrape: pace.scrape, slot: pace.slot, ahead }
    }

    /// Up to when the source can tell: a window that is counted closes one scrape late.
    fn there(self, asking: &Asking<'_>) -> Timestamp {
        let late = if asking.rule.counts() { signed(self.scrape) } else { SignedDuration::ZERO };
        let now = Timestamp::now();
        now.checked_add(self.ahead.saturating_sub(late)).unwrap_or(now)
    }

    /// How long it is until the grid's next point.
    fn until_next(self, asking: &Asking<'_>) -> Duration {
        let there = self.there(asking);
        let passed = there.duration_since(on_grid(there, self.slot).1);
        let passed = Duration::try_from(passed).unwrap_or_default();
        self.slot.saturating_sub(passed).max(Duration::from_millis(20))
    }
}

/// Takes one look, as a rollout would now. Without a timing the source is first asked for one.
async fn look(
    asking: &Asking<'_>,
    timing: Option<Timing>,
    evidence: &Evidence,
) -> (Option<Timing>, Option<Sample>) {
    let timing = match timing {
        Some(timing) => timing,
        None => match asking.pace().await {
            Ok(pace) => Timing::of(&pace),
            Err(sample) => return (None, Some(recent(*sample))),
        },
    };
    let end = on_grid(timing.there(asking), timing.slot).1;
    let window = if asking.rule.counts() {
        let begin = asking.trial.window.begin.checked_add(timing.ahead);
        let begin = begin.unwrap_or(asking.trial.window.begin);
        let begin = on_grid(begin, timing.slot).0;
        Window { begin: folded_to(evidence).unwrap_or(begin).max(begin), end }
    } else {
        limits::window(asking, timing.scrape, end)
    };
    if window.begin >= window.end {
        return (Some(timing), None);
    }
    let first = asking.rule.counts() && evidence.is_empty();
    let before = first.then_some(compared::BEFORE);
    let sample = asking.look(window, Some(timing.slot), before).await;
    (Some(timing), Some(sample))
}

/// A sample about no certain window is about now.
fn recent(sample: Sample) -> Sample {
    let now = Timestamp::now();
    Sample { window: Window { begin: now, end: now }, ..sample }
}
