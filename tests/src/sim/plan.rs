//! The rollouts that are simulated: short bakes, so that an hour of faults fits into milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use haldane_model::{
    Check, During, Entry, Follow, GapPolicy, Gate, GateKind, Limits, OnDeadline, OnExpired,
    OnInconclusive, Plan, Policies, Side, Source, Step, Weight,
};

use super::Rng;

/// What the check is called that compares.
pub const COMPARED: &str = "compared";

/// What differs from one simulated rollout to the next.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The steps, in percent.
    pub weights: Vec<u32>,
    /// How long each holds, in seconds.
    pub bake: u64,
    /// How long the watch is, in seconds.
    pub watch: u64,
    /// How many parts each traffic entry has.
    pub parts: Vec<usize>,
    /// How many failures the check may have.
    pub failures: u32,
    /// Whether the sides tell which revision they run.
    pub told: bool,
    /// What the second step waits for.
    pub gate: Wait,
    /// After how long the check is first asked, in seconds.
    pub delay: u64,
    /// How often the checks are asked, in seconds; their series are scraped every five.
    pub interval: u64,
    /// Whether a second source, which always answers, is asked the same.
    pub aside: bool,
    /// When it is asked.
    pub during: During,
    /// A check that compares both sides.
    pub compared: Option<Compared>,
    /// Policies on missing answers.
    pub policies: Policies,
    /// What follows when it takes too long.
    pub on_deadline: OnDeadline,
    /// The longest bake, in seconds.
    pub max_bake: Option<u64>,
    /// Whether every step below 100 % mirrors, and there are rules for testers.
    pub company: bool,
    /// Which edit of the file this is.
    pub edit: u32,
}

/// A check that compares both sides, by counts that are drawn once for each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// What the counts are drawn from.
    pub seed: u64,
    /// Whether it is the only check.
    pub alone: bool,
    /// Which part of the requests fails on either side.
    pub rate: f64,
    /// Which part fails of a revision that turned bad.
    pub bad: f64,
}

/// What a step waits for before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// A person.
    Person,
    /// A person, for so many seconds.
    PersonFor(u64),
    /// Something outside.
    Outside,
    /// Something outside, for so many seconds.
    OutsideFor(u64),
    /// A person and something outside.
    Both,
}

// === impl Wait ===

impl Wait {
    fn draw(rng: &mut Rng) -> Self {
        match rng.range(0, 20) {
            0 | 1 => Self::Person,
            2 => Self::PersonFor(20),
            3 | 4 => Self::Outside,
            5 => Self::OutsideFor(15),
            6 => Self::Both,
            _ => Self::Nothing,
        }
    }
}

// === impl Shape ===

impl Default for Shape {
    fn default() -> Self {
        Self {
            weights: vec![10, 25, 50, 100],
            bake: 30,
            watch: 60,
            parts: vec![1],
            failures: 0,
            told: false,
            gate: Wait::Nothing,
            delay: 0,
            interval: 5,
            aside: false,
            during: During::Background,
            compared: None,
            policies: Policies {
                no_data: GapPolicy::Hold,
                source_error: GapPolicy::Hold,
                canary_lost: GapPolicy::Abort,
                inconclusive: OnInconclusive::Pause,
            },
            on_deadline: OnDeadline::Pause,
            max_bake: None,
            company: false,
            edit: 0,
        }
    }
}

impl Shape {
    /// Draws one; some compare both sides as well.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut shape = Self::without_comparison(rng);
        // A first step without traffic has nothing that could be compared.
        // Its dice are its own, so that all other histories stay as they are.
        let seed = rng.clone().range(0, u64::MAX);
        let mut dice = Rng::new(seed);
        let compares = shape.weights[0] > 0 && dice.chance(200);
        let rate = dice.pick(&[0.0, 0.001, 0.01]);
        shape.compared = compares.then_some(Compared { seed, alone: false, rate, bad: 0.3 });
        shape.interval = dice.pick(&[5, 5, 5, 1]);
        shape.company = dice.chance(300);
        shape
    }

    fn without_comparison(rng: &mut Rng) -> Self {
        let gap = |rng: &mut Rng| {
            let rest = [GapPolicy::Pause, GapPolicy::Abort, GapPolicy::Ignore];
            if rng.chance(700) { GapPolicy::Hold } else { rng.pick(&rest) }
        };
        let weights = match rng.range(0, 4) {
            0 => vec![0, 20, 100],
            1 => vec![10, 50, 100],
            2 => vec![25, 100],
            _ => vec![5, 10, 60, 100],
        };
        let parts = match rng.range(0, 6) {
            0 => vec![3],
            1 => vec![1, 2],
            2 => vec![2],
            _ => vec![1],
        };
        Self {
            weights,
            bake: rng.range(12, 30),
            watch: rng.pick(&[0, 20, 40]),
            parts,
            failures: u32::from(rng.chance(250)),
            told: rng.chance(300),
            gate: Wait::draw(rng),
            delay: rng.pick(&[0, 0, 0, 0, 8, 40]),
            interval: 5,
            aside: rng.chance(150),
            compared: None,
            policies: Policies {
                no_data: gap(rng),
                source_error: gap(rng),
                canary_lost: if rng.chance(800) { GapPolicy::Abort } else { gap(rng) },
                inconclusive: rng.pick(&[
                    OnInconclusive::Pause,
                    OnInconclusive::Pause,
                    OnInconclusive::Promote,
                    OnInconclusive::Abort,
                ]),
            },
            on_deadline: if rng.chance(850) { OnDeadline::Pause } else { OnDeadline::Abort },
            max_bake: rng.chance(200).then_some(80),
            company: false,
            edit: 0,
            during: match rng.range(0, 4) {
                0 => During::Steps(vec![1]),
                1 => During::AfterPromotion,
                _ => During::Background,
            },
        }
    }
}

fn step(shape: &Shape, index: usize, weight: u32) -> Step {
    let gate = |kind: GateKind, expires: Option<u64>| Gate {
        name: if kind == GateKind::Manual { "people".into() } else { "tickets".into() },
        kind,
        expires: expires.map(Duration::from_secs),
        on_expired: OnExpired::Pause,
    };
    let outside = || GateKind::External("{}".into());
    let gates = match shape.gate {
        Wait::Nothing => Vec::new(),
        Wait::Person => vec![gate(GateKind::Manual, None)],
        Wait::PersonFor(secs) => vec![gate(GateKind::Manual, Some(secs))],
        Wait::Outside => vec![gate(outside(), None)],
        Wait::OutsideFor(secs) => vec![gate(outside(), Some(secs))],
        Wait::Both => vec![gate(GateKind::Manual, None), gate(outside(), None)],
    };
    Step {
        weight: Weight::from_percent(weight).expect("at most 100"),
        bake: Duration::from_secs(shape.bake),
        max_bake: shape.max_bake.map(Duration::from_secs),
        gates: if index == 1 { gates } else { Vec::new() },
        mirror: (shape.company && weight < 100)
            .then(|| Weight::from_percent(weight + 1).expect("at most 100")),
    }
}

fn check(shape: &Shape, name: &str, source: &str) -> Check {
    let threshold = r#"{"max":0.05,"unit":"%","minSamples":5}"#;
    // Sure within the seconds that a simulated step has, at its traffic.
    let compare =
        r#"{"compare":{"kind":"errors","minStepSeconds":5,"minWindows":2,"margin":{"harm":0.04}}}"#;
    Check {
        name: name.into(),
        source: source.into(),
        kind: "errors".into(),
        question: "{}".into(),
        rule: if name == COMPARED { compare } else { threshold }.into(),
        interval: Duration::from_secs(shape.interval),
        window: None,
        initial_delay: Duration::from_secs(shape.delay),
        limits: Limits { failures: shape.failures, ..Limits::default() },
        dry_run: false,
        during: if name == "errors" { During::Background } else { shape.during.clone() },
    }
}

/// Makes the plan of a shape.
#[must_use]
pub fn plan(shape: &Shape) -> Arc<Plan> {
    let side = |name: &str| Side {
        name: name.into(),
        labels: BTreeMap::new(),
        revision_query: shape.told.then(|| "{}".into()),
        workload: None,
    };
    let entries = (0..shape.parts.len()).map(|index| Entry {
        name: format!("entry{index}").into(),
        kind: "simulated".into(),
        settings: "{}".into(),
        follow: Follow::Steps,
        signed: true,
        write_deadline: Duration::from_secs(3),
    });
    let steps = shape.weights.iter().enumerate().map(|(index, w)| step(shape, index, *w));
    let mut names: Vec<(&str, &str)> = Vec::new();
    if !shape.compared.is_some_and(|compared| compared.alone) {
        names.push(("errors", "main"));
    }
    if shape.aside {
        names.push(("errors-aside", "aside"));
    }
    if shape.compared.is_some() {
        names.push((COMPARED, "main"));
    }
    let sources: BTreeSet<&str> = names.iter().map(|(_, source)| *source).collect();
    let asked =
        |name: &str| Source { name: name.into(), kind: "simulated".into(), settings: "{}".into() };
    Arc::new(Plan {
        hash: format!("v1:{}", shape.edit).into(),
        sides: [side("blue"), side("green")],
        entries: entries.collect(),
        steps: steps.collect(),
        watch: Duration::from_secs(shape.watch),
        progress_deadline: Duration::from_secs(600),
        on_deadline: shape.on_deadline,
        sources: sources.into_iter().rev().map(asked).collect(),
        checks: names.iter().map(|(name, source)| check(shape, name, source)).collect(),
        policies: shape.policies,
        alerts: Vec::new(),
        guards_at_full: true,
        unanalysed: false,
    })
}
