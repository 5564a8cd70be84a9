//! The class of one metric.

use super::clean::{Missing, Outliers, clean};
use crate::ranks::{Shift, rank_sum, shift};

/// The confidence of the interval; fixed in Kayenta.
const CONFIDENCE: f64 = 0.98;

/// The part of the estimated shift that the near end of the interval must exceed; fixed in Kayenta.
///
/// Relative to the shift itself and not to the metric's level: a consistent +0.5 % is High.
const TOLERANCE: f64 = 0.25;

/// Both sides' points of one metric; NaN where a point is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// The side under test, Kayenta's experiment.
    pub test: Vec<f64>,
    /// The serving side, Kayenta's control.
    pub serving: Vec<f64>,
    /// How many points a side should have, where that is known.
    pub expected: usize,
    /// How it is judged.
    pub rule: MetricRule,
}

/// How a metric is judged; the defaults are Kayenta's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricRule {
    /// Which difference counts.
    pub direction: Direction,
    /// What a missing point becomes.
    pub missing: Missing,
    /// What becomes of points far from the others.
    pub outliers: Outliers,
    /// How large the effect is, and how large it may be.
    pub effect: Effect,
    /// Whether it alone can fail everything.
    pub critical: bool,
    /// Whether having no points is a failure of the metric.
    pub must_have_data: bool,
    /// The groups that it counts in.
    pub groups: Vec<String>,
}

/// Which difference counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// A rise.
    Increase,
    /// A fall.
    Decrease,
    /// Both.
    #[default]
    Either,
}

/// How the size of a difference is measured, and from where on it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The ratio of the means; where a mean is zero there is none, and every difference counts.
    MeanRatio(Allowed),
    /// In which part of all pairs the side under test is higher.
    Cles(Allowed),
}

/// From where on a difference counts, and from where on a critical one fails everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// A rise to this or above counts.
    pub increase: f64,
    /// A fall to this or below counts.
    pub decrease: f64,
    /// A rise to this or above fails everything, where the metric is critical.
    pub critical_increase: f64,
    /// A fall to this or below fails everything, where the metric is critical.
    pub critical_decrease: f64,
}

/// The class of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not different enough.
    Pass,
    /// The side under test is higher.
    High,
    /// The side under test is lower.
    Low,
    /// A side has no points; it counts in no score.
    NoData,
    /// A side has no points, and should have: it counts as failed.
    NoDataFailed,
}

/// What became of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricResult {
    /// The class.
    pub class: Class,
    /// Whether this alone fails everything.
    pub fatal: bool,
    /// The shift, where the sides were compared.
    pub shift: Option<Shift>,
    /// The size of the difference, where it has one.
    pub effect: Option<f64>,
}

/// Classifies a metric.
///
/// High where the interval of the shift lies above a quarter of the shift itself and the effect is
/// large enough; Low likewise below. An infinite point cannot be compared, and is no data.
#[must_use]
pub fn classify(metric: &Metric) -> MetricResult {
    let rule = &metric.rule;
    let points = |side: &[f64]| clean(side, rule.missing, rule.outliers, metric.expected);
    let (test, serving) = (points(&metric.test), points(&metric.serving));
    if test.iter().chain(&serving).any(|point| point.is_infinite()) {
        return without_data(rule, Missing::Remove);
    }
    if test.is_empty() || serving.is_empty() {
        return without_data(rule, rule.missing);
    }
    // Where all points are equal, also between the sides, nothing can be ranked.
    let Some(shift) = shift(&test, &serving, CONFIDENCE).filter(|_| differ(&test, &serving)) else {
        return plain(Class::Pass);
    };
    let (effect, allowed) = rule.effect.of(&test, &serving);
    let beyond = TOLERANCE * shift.estimate.abs();
    let rises = rule.direction != Direction::Decrease
        && shift.low > beyond
        && effect.is_none_or(|effect| effect >= allowed.increase);
    let falls = rule.direction != Direction::Increase
        && shift.high < -beyond
        && effect.is_none_or(|effect| effect <= allowed.decrease);
    let (class, severe) = match (rises, falls) {
        (true, true | false) => {
            (Class::High, effect.is_none_or(|e| e >= allowed.critical_increase))
        }
        (false, true) => (Class::Low, effect.is_none_or(|e| e <= allowed.critical_decrease)),
        (false, false) => (Class::Pass, false),
    };
    MetricResult { class, fatal: rule.critical && severe, shift: Some(shift), effect }
}

fn without_data(rule: &MetricRule, missing: Missing) -> MetricResult {
    match (missing, rule.must_have_data && !rule.critical) {
        (Missing::Replace, true | false) => plain(Class::Pass),
        (Missing::Remove, true) => plain(Class::NoDataFailed),
        (Missing::Remove, false) => MetricResult { fatal: rule.critical, ..plain(Class::NoData) },
    }
}

fn plain(class: Class) -> MetricResult {
    MetricResult { class, fatal: false, shift: None, effect: None }
}

/// Returns whether the sides hold different points, in whatever order.
fn differ(test: &[f64], serving: &[f64]) -> bool {
    let sorted = |points: &[f64]| {
        let mut points = points.to_vec();
        points.sort_by(f64::total_cmp);
        points
    };
    let mut all = test.iter().chain(serving);
    let first = all.next();
    sorted(test) != sorted(serving) && all.any(|point| Some(point) != first)
}

// === impl Effect ===

impl Effect {
    fn of(&self, test: &[f64], serving: &[f64]) -> (Option<f64>, Allowed) {
        let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
        match self {
            Self::MeanRatio(allowed) => {
                let (ours, theirs) = (mean(test), mean(serving));
                (Some(ours / theirs).filter(|_| ours != 0.0 && theirs != 0.0), *allowed)
            }
            Self::Cles(allowed) => (rank_sum(test, serving).map(|ranks| ranks.cles()), *allowed),
        }
    }
}

impl Default for Effect {
    fn default() -> Self {
        Self::MeanRatio(Allowed::all(1.0))
    }
}

// === impl Allowed ===

impl Allowed {
    /// Returns one boundary for everything: 1 is Kayenta's default for the ratio, 0.5 for the pairs.
    #[must_use]
    pub fn all(boundary: f64) -> Self {
        Self {
            increase: boundary,
            decrease: boundary,
            critical_increase: boundary,
            critical_decrease: boundary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: [f64; 5] = [20.0, 22.0, 21.0, 25.0, 30.0];
    const USUAL: [f64; 5] = [1.0, 2.2, 1.1, 2.5, 3.0];

    fn metric(test: &[f64], serving: &[f64], rule: MetricRule) -> Metric {
        Metric {
            name: "requests".to_owned(),
            test: test.to_vec(),
            serving: serving.to_vec(),
            expected: 5,
            rule,
        }
    }

    #[track_caller]
    fn check(test: &[f64], serving: &[f64], rule: MetricRule, class: Class, fatal: bool) {
        let result = classify(&metric(test, serving, rule));
        assert_eq!((result.class, result.fatal), (class, fatal), "{result:?}");
    }

    #[test]
    fn a_rise_is_high_and_a_fall_is_low_where_they_count() {
        let only = |direction| MetricRule { direction, ..MetricRule::default() };
        check(&HIGH, &USUAL, only(Direction::Either), Class::High, false);
        check(&HIGH, &USUAL, only(Direction::Increase), Class::High, false);
        check(&HIGH, &USUAL, only(Direction::Decrease), Class::Pass, false);
        check(&USUAL, &HIGH, only(Direction::Either), Class::Low, false);
        check(&USUAL, &HIGH, only(Direction::Decrease), Class::Low, false);
        check(&USUAL, &HIGH, only(Direction::Increase), Class::Pass, false);
    }

    #[test]
    fn an_effect_below_what_is_allowed_passes() {
        let effect = |increase, critical_increase| MetricRule {
            effect: Effect::MeanRatio(Allowed { increase, critical_increase, ..Allowed::all(1.0) }),
            critical: true,
            ..MetricRule::default()
        };
        check(&HIGH, &USUAL, effect(12.0, 12.0), Class::High, true);
        check(&HIGH, &USUAL, effect(12.0, 13.0), Class::High, false);
        check(&HIGH, &USUAL, effect(13.0, 13.0), Class::Pass, false);
        let pairs = |increase| MetricRule {
            effect: Effect::Cles(Allowed { increase, ..Allowed::all(0.5) }),
            ..MetricRule::default()
        };
        check(&HIGH, &USUAL, pairs(1.0), Class::High, false);
        check(&HIGH, &USUAL, pairs(1.01), Class::Pass, false);
    }

    #[test]
    fn a_side_without_points_is_no_data_a_failure_or_a_pass() {
        let rule = |missing, critical, must_have_data| MetricRule {
            missing,
            critical,
            must_have_data,
            ..MetricRule::default()
        };
        let none = [f64::NAN; 5];
        check(&none, &USUAL, rule(Missing::Remove, false, false), Class::NoData, false);
        check(&none, &USUAL, rule(Missing::Remove, true, false), Class::NoData, true);
        check(&none, &USUAL, rule(Missing::Remove, true, true), Class::NoData, true);
        check(&USUAL, &none, rule(Missing::Remove, false, true), Class::NoDataFailed, false);
        // Replaced by zeros there are points, and they differ.
        check(&none, &USUAL, rule(Missing::Replace, true, true), Class::Low, true);
        let empty =
            Metric { expected: 0, ..metric(&[], &USUAL, rule(Missing::Replace, true, true)) };
        assert_eq!(classify(&empty).class, Class::Pass);
    }

    #[test]
    fn an_infinite_point_never_passes() {
        let odd = [1.0, 2.0, f64::INFINITY, 1.5, 2.5];
        let replace = MetricRule { missing: Missing::Replace, ..MetricRule::default() };
        check(&odd, &USUAL, replace, Class::NoData, false);
        let critical = MetricRule { critical: true, ..MetricRule::default() };
        check(&USUAL, &odd, critical, Class::NoData, true);
    }

    #[test]
    fn two_different_constants_differ_without_noise() {
        check(&[2.0; 5], &[1.0; 5], MetricRule::default(), Class::High, false);
        check(&[0.0; 5], &[1.0; 5], MetricRule::default(), Class::Low, false);
        check(&[1.0; 5], &[1.0; 7], MetricRule::default(), Class::Pass, false);
        check(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0], MetricRule::default(), Class::Pass, false);
    }

    #[test]
    fn the_unit_changes_no_class() {
        for unit in [1e-9, 1e-3, 1.0, 1e6] {
            let scaled = |points: &[f64]| points.iter().map(|p| p * unit).collect::<Vec<_>>();
            let rule = MetricRule::default();
            check(&scaled(&HIGH), &scaled(&USUAL), rule, Class::High, false);
        }
    }
}
