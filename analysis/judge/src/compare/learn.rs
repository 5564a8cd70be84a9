//! Learning windows: each once, in the order of time, and nothing but windows.
//!
//! What a window is bet on with was fixed before it: the clumping, the bounds, the guess of the
//! serving side's rate, the limit at 100 %.

use haldane_model::{Count, CountWindow, Sample, Weight, Window};

use super::{
    book::{Book, Frozen, Line, Premise},
    counts::{self, Answered},
    rule::{Compare, Kind},
};
use crate::{
    Stage,
    betting::{self, Game, Grid, Margin, Process, Sums},
    counted::watch,
    dispersion,
    starvation::Starvation,
};

/// How many requests of the serving side choose the bounds.
const CHOOSING: f64 = 1_000.0;
/// How many processes are told apart.
const PROCESSES_MAX: usize = 64;
/// What the others are called.
const THE_OTHERS: &str = "others";
/// How far above the frozen rate its upper bound lies, in standard deviations: 99 of 100 times.
const SURE: f64 = 2.326;

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// How many windows were new.
    pub(super) windows: u32,
    /// Whether one of them lay in the step: before it, the side under test had another share.
    pub(super) in_step: bool,
    /// What both sides counted in them.
    pub(super) sums: Sums,
    /// Whether the side under test showed a process in them.
    pub(super) shows_test: bool,
    /// Whether the serving side did.
    pub(super) shows_serving: bool,
    /// Why the side under test is lost, if it is.
    pub(super) loss: Option<String>,
}

/// Folds what is new into the book.
pub(super) fn learn(
    rule: &Compare,
    stage: &Stage,
    book: &mut Book,
    answered: &Answered<'_>,
    sample: &Sample,
) -> News {
    let mut news = News::default();
    let fresh =
        |to: Option<_>| move |one: &&CountWindow| to.is_none_or(|to| one.window.begin >= to);
    let any = answered.windows.iter().any(|window| fresh(book.folded_to)(&window));
    if book.premise.is_none() && (any || !answered.before.is_empty()) {
        begin(rule, book, answered);
    }
    for window in answered.windows {
        let is_last = book.folded_to == Some(window.window.end);
        if !fresh(book.folded_to)(&window) {
            // Asked again after a crash: the last window tells again whether a side is lost.
            if is_last {
                let sums = counts::sums(window, 0);
                news.loss = watch(&mut book.silence, window, &sums, sample);
            }
            continue;
        }
        let sums = counts::sums(window, 0);
        fold_window(rule, stage, book, answered.bounds, (window, &sums));
        news.loss = watch(&mut book.silence, window, &sums, sample);
        news.windows += 1;
        news.in_step |= window.window.begin >= stage.windows_from;
        news.sums = news.sums.plus(&sums);
        news.shows_test |= !window.test.is_empty();
        news.shows_serving |= !window.serving.is_empty();
    }
    if news.windows > 0 {
        book.late = book.late.saturating_add(answered.late);
    }
    news
}

/// How long a window is.
pub(super) fn secs(window: &Window) -> f64 {
    window.end.duration_since(window.begin).as_secs_f64()
}

// === before the first window ===

/// Fixes what must be fixed before the first window.
pub(super) fn begin(rule: &Compare, book: &mut Book, answered: &Answered<'_>) {
    let (bounds, before) = (answered.bounds, answered.before);
    book.premise = Some(Premise { phi: 1.0, measured: false, gathering: None });
    let phi = match rule.kind {
        Kind::Errors => {
            book.lines = vec![Line::new(rule, None)];
            dispersion::phi(before, 0)
        }
        Kind::Latency => {
            let (above, total) = serving(before, bounds.len());
            choose(rule, book, bounds, (above, total), total >= CHOOSING);
            clumps_of_tails(book, bounds, before)
        }
    };
    if let Some(premise) = &mut book.premise {
        premise.phi = phi.unwrap_or(1.0);
        premise.measured = phi.is_some();
    }
}

/// The largest clumping at any watched bound. Tails are no rare events: X² divides by `n·p`, where
/// the variance is `n·p·(1 − p)`.
fn clumps_of_tails(book: &Book, bounds: &[f64], before: &[CountWindow]) -> Option<f64> {
    let (above, total) = serving(before, bounds.len());
    let at = |line: &Line| {
        let place = place(line, bounds)?;
        let rest = 1.0 - above.get(place)? / total;
        let phi = dispersion::phi(before, place)?;
        Some(if rest > 0.0 { (phi / rest).min(dispersion::PHI_MAX) } else { phi })
    };
    book.lines.iter().filter_map(at).reduce(f64::max)
}

/// Chooses the bounds at which is watched, or goes on gathering until enough was served.
fn choose(
    rule: &Compare,
    book: &mut Book,
    bounds: &[f64],
    (above, total): (Vec<f64>, f64),
    enough: bool,
) {
    let Some(premise) = &mut book.premise else { return };
    if !enough {
        premise.gathering = Some((above, total));
        return;
    }
    premise.gathering = None;
    let places = betting::thresholds(bounds, &above, total, rule.bound);
    let line = |place: usize| {
        let rate = if total > 0.0 { above[place] / total } else { 0.0 };
        Line::new(rule, Some((bounds[place], rate)))
    };
    book.lines = places.into_iter().map(line).collect();
}

/// What the serving side counted in all windows together, per bound, and all its requests.
fn serving(windows: &[CountWindow], bounds: usize) -> (Vec<f64>, f64) {
    let mut above = vec![0.0; bounds];
    let mut total = 0.0;
    for window in windows {
        total += add_serving(&mut above, window);
    }
    (above, total)
}

fn add_serving(above: &mut [f64], window: &CountWindow) -> f64 {
    for (at, above) in above.iter_mut().enumerate() {
        *above += counts::side(&window.serving, at).0;
    }
    counts::side(&window.serving, 0).1
}

// === one window ===

/// `first`: what both sides counted at the first bound, or at none.
fn fold_window(
    rule: &Compare,
    stage: &Stage,
    book: &mut Book,
    bounds: &[f64],
    (window, first): (&CountWindow, &Sums),
) {
    let secs = secs(&window.window);
    let in_step = window.window.begin >= stage.windows_from;
    if in_step && book.step.number != Some(stage.step) {
        begin_step(rule, stage.step, book);
    }
    let absolute = in_step && stage.weight == Weight::FULL;
    gather(rule, book, bounds, window, absolute);
    let premise = book.premise.as_ref();
    let (phi, measured) = premise.map_or((1.0, false), |premise| (premise.phi, premise.measured));
    let share = rule.weight / book.lines.len().max(1) as f64;
    let turn = Turn {
        rule,
        stage,
        phi,
        cap: betting::cap(rule.alpha, share, measured),
        renewal: Process::renewal(secs),
        in_step,
    };
    for line in &mut book.lines {
        let Some(place) = place(line, bounds) else { continue };
        let further = (place > 0).then(|| counts::sums(window, place));
        let sums = further.as_ref().unwrap_or(first);
        if absolute { turn.limit(line, sums) } else { turn.compare(line, sums) }
    }
    if in_step {
        book.step.windows = book.step.windows.saturating_add(1);
        book.step.secs += secs;
        let share = stage.weight.fraction();
        book.step.starvation.learn(first, share, secs);
    }
    note_processes(rule, book, window);
    book.began = book.began.or(Some(window.window.begin));
    book.folded_to = Some(window.window.end);
    book.top = book.top.max(book.ln_e());
}

/// A step begins: the risk is new, and what the serving side did in the last one is kept, where it
/// is enough.
fn begin_step(rule: &Compare, step: u32, book: &mut Book) {
    book.step.number = Some(step);
    (book.step.windows, book.step.secs) = (0, 0.0);
    book.step.starvation = Starvation::default();
    for line in &mut book.lines {
        let Sums { serving_bad, serving_total, .. } = line.in_step;
        if serving_total > 0.0 && serving_total >= rule.samples_min {
            line.pooled = Some((serving_bad, serving_total));
        }
        line.in_step = Sums::default();
        line.clearance = Process::new(Grid::non_inferiority());
    }
}

/// Latency without a time before: the first thousand requests choose the bounds, and are not bet
/// on. At 100 % only the objective can choose one.
fn gather(rule: &Compare, book: &mut Book, bounds: &[f64], window: &CountWindow, absolute: bool) {
    let premise = book.premise.as_mut();
    let Some((mut above, mut total)) = premise.and_then(|premise| premise.gathering.take()) else {
        return;
    };
    let enough = absolute || total >= CHOOSING;
    if !enough {
        total += add_serving(&mut above, window);
    } else if total < CHOOSING {
        total = 0.0;
    }
    choose(rule, book, bounds, (above, total), enough);
}

fn place(line: &Line, bounds: &[f64]) -> Option<usize> {
    match line.bound {
        Some(bound) => bounds.iter().position(|one| *one == bound),
        None => Some(0),
    }
}

/// What one window is played with.
struct Turn<'a> {
    rule: &'a Compare,
    stage: &'a Stage,
    phi: f64,
    cap: f64,
    renewal: f64,
    in_step: bool,
}

impl Turn<'_> {
    /// Both sides against each other.
    fn compare(&self, line: &mut Line, sums: &Sums) {
        let guess = line.expected.map_or(0.0, |expected| expected.rate());
        let game = self.game(self.rule.tolerance);
        let suspicious = line.regression.ln_e() > 0.0;
        line.regression.play(&game, sums, guess, self.renewal);
        if sums.test_total > 0.0 && sums.serving_total > 0.0 {
            line.sums = line.sums.plus(sums);
            // By how much it is worse is asked once something speaks against it: a bet may begin
            // whenever the past says so.
            if let Some(bound) = line.at_least.as_mut().filter(|_| suspicious) {
                bound.play(sums, self.rule.alpha, self.phi, self.cap);
            }
        }
        if self.in_step {
            line.in_step = line.in_step.plus(sums);
            let margin = self.rule.margin(next(self.stage));
            let cap = self.rule.cleared() / 3.0;
            let game = Game { grid: Grid::non_inferiority(), margin, phi: self.phi, cap };
            line.clearance.play(&game, sums, guess, 0.0);
        }
        if let Some(expected) = &mut line.expected {
            expected.learn(sums);
        }
    }

    /// The side under test alone, against a rate that was fixed while there were two.
    fn limit(&self, line: &mut Line, sums: &Sums) {
        line.in_step = line.in_step.plus(sums);
        let frozen = *line
            .frozen
            .get_or_insert_with(|| freeze(self.rule, line.pooled, line.bound, self.phi));
        if let Some(limit) = frozen.limit() {
            let margin = Margin { ratio: 0.0, absolute: limit };
            line.regression.play(&self.game(margin), sums, 0.0, self.renewal);
        }
    }

    fn game(&self, margin: Margin) -> Game<'static> {
        Game { grid: self.rule.grid(), margin, phi: self.phi, cap: self.cap }
    }
}

/// The share that a Pass leads to.
pub(super) fn next(stage: &Stage) -> f64 {
    let next = stage.next.filter(|next| *next > Weight::ZERO).unwrap_or(Weight::FULL);
    next.fraction()
}

// === 100 % ===

/// Fixes what 100 % is judged by: the serving side's rate while there was one, with the tolerance
/// on top, else the objective. The rate was measured, and not on endless requests: what it may be
/// at most, with 99 of 100, is used, so that a lucky minute does not condemn what follows.
fn freeze(rule: &Compare, pooled: Option<(f64, f64)>, bound: Option<f64>, phi: f64) -> Frozen {
    let objective = rule.slo.filter(|_| match (bound, rule.bound) {
        (Some(bound), Some(wanted)) => bound >= wanted,
        (Some(_), None) => false,
        (None, _) => true,
    });
    match (pooled, objective) {
        (Some((bad, total)), _) => {
            let most = (at_most(bad / phi) * phi / total).min(1.0);
            let limit = (most * rule.tolerance.ratio + rule.tolerance.absolute).min(1.0);
            Frozen::Rate { rate: bad / total, limit }
        }
        (None, Some(limit)) => Frozen::Objective { limit },
        (None, None) => Frozen::Nothing,
    }
}

/// How many events a Poisson count may stand for at most, 99 of 100 times (Wilson and Hilferty, 1931).
fn at_most(count: f64) -> f64 {
    let more = count + 1.0;
    more * (1.0 - 1.0 / (9.0 * more) + SURE / (3.0 * more.sqrt())).powi(3)
}

// === processes ===

fn note_processes(rule: &Compare, book: &mut Book, window: &CountWindow) {
    if rule.kind != Kind::Errors {
        return;
    }
    let add = |(bad, total): &mut (f64, f64), count: &Count| {
        *bad += count.bad.first().copied().unwrap_or(0.0).min(count.total);
        *total += count.total;
    };
    // The usual window has the same processes as all before it, in the same order: nothing is looked up.
    let names = || book.processes.keys().zip(&window.test);
    let same = book.processes.len() == window.test.len();
    if same && names().all(|(name, count)| *name == count.process) {
        book.processes.values_mut().zip(&window.test).for_each(|(known, count)| add(known, count));
        return;
    }
    for count in &window.test {
        let known = match book.processes.get_mut(&count.process) {
            Some(known) => known,
            None => {
                let room = book.processes.len() < PROCESSES_MAX;
                let name = if room { count.process.clone() } else { THE_OTHERS.into() };
                book.processes.entry(name).or_default()
            }
        };
        add(known, count);
    }
}

// === impl Frozen ===

impl Frozen {
    /// Returns the limit, where there is one.
    pub(super) fn limit(self) -> Option<f64> {
        match self {
            Self::Rate { limit, .. } | Self::Objective { limit } => Some(limit),
            Self::Nothing => None,
        }
    }
}
