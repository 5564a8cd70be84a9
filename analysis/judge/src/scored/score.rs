//! From the classes of all metrics to one score.

use std::collections::BTreeMap;

use super::metric::{Class, Metric, MetricResult, classify};

/// From which score on a judgement passes, and what each group weighs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreRule {
    /// From this score on it passes; 0 to 100.
    pub pass: f64,
    /// From this score on it is marginal; 0 to 100.
    pub marginal: f64,
    /// What a group weighs, of 100; groups that are not named share what is left.
    pub weights: BTreeMap<String, f64>,
}

/// The judgement of all metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The score, 0 to 100, in hundredths.
    pub score: f64,
    /// What it means.
    pub outcome: ScoreOutcome,
    /// Each group, by name.
    pub groups: Vec<Group>,
    /// Each metric, in the order given.
    pub metrics: Vec<MetricResult>,
}

/// The score of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The part of its metrics that passed, in percent; 100 where none has data.
    pub score: f64,
    /// What it weighs, of 100.
    pub weight: f64,
}

/// What a score means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreOutcome {
    /// The score passes.
    Pass,
    /// Between the two boundaries: a person decides.
    Marginal,
    /// Below both.
    Fail,
}

/// Classifies all metrics and scores them.
///
/// The score is 0 where a critical metric fails, or where half of the metrics or more have no data.
/// As in Kayenta, a score passes at `pass` even where that is 0, and weights need not add up to 100.
#[must_use]
pub fn score(metrics: &[Metric], rule: &ScoreRule) -> Score {
    let results: Vec<MetricResult> = metrics.iter().map(classify).collect();
    let groups = groups(metrics, &results, rule);
    let silent = results.iter().filter(|result| result.class == Class::NoData).count();
    let void = results.iter().any(|result| result.fatal) || 2 * silent >= results.len();
    let sum: f64 = groups.iter().map(|group| group.score * group.weight / 100.0).sum();
    let score = if void { 0.0 } else { (sum * 100.0).round() / 100.0 };
    let outcome = if score >= rule.pass && !void {
        ScoreOutcome::Pass
    } else if score >= rule.marginal && !void {
        ScoreOutcome::Marginal
    } else {
        ScoreOutcome::Fail
    };
    Score { score, outcome, groups, metrics: results }
}

fn groups(metrics: &[Metric], results: &[MetricResult], rule: &ScoreRule) -> Vec<Group> {
    let mut classes: BTreeMap<&str, Vec<Class>> = BTreeMap::new();
    for (metric, result) in metrics.iter().zip(results) {
        for group in &metric.rule.groups {
            classes.entry(group).or_default().push(result.class);
        }
    }
    let unnamed = classes.keys().filter(|name| !rule.weights.contains_key(**name)).count();
    let left = (100.0 - rule.weights.values().sum::<f64>()).max(0.0) / unnamed.max(1) as f64;
    classes
        .into_iter()
        .map(|(name, classes)| Group {
            name: name.to_owned(),
            score: passed(&classes),
            weight: rule.weights.get(name).copied().unwrap_or(left),
        })
        .collect()
}

fn passed(classes: &[Class]) -> f64 {
    let counted = classes.iter().filter(|class| **class != Class::NoData).count();
    let passed = classes.iter().filter(|class| **class == Class::Pass).count();
    if counted == 0 { 100.0 } else { 100.0 * passed as f64 / counted as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::MetricRule;

    const HIGH: [f64; 5] = [20.0, 22.0, 21.0, 25.0, 30.0];
    const USUAL: [f64; 5] = [1.0, 2.2, 1.1, 2.5, 3.0];
    const NONE: [f64; 5] = [f64::NAN; 5];

    fn of(test: [f64; 5], group: &str, critical: bool) -> Metric {
        Metric {
            name: group.to_owned(),
            test: test.to_vec(),
            serving: USUAL.to_vec(),
            expected: 5,
            rule: MetricRule { groups: vec![group.to_owned()], critical, ..MetricRule::default() },
        }
    }

    fn rule(weights: &[(&str, f64)]) -> ScoreRule {
        let weights = weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        ScoreRule { pass: 80.0, marginal: 60.0, weights }
    }

    #[track_caller]
    fn check(metrics: &[Metric], rule: &ScoreRule, expected: f64, outcome: ScoreOutcome) {
        let score = score(metrics, rule);
        assert_eq!((score.score, score.outcome), (expected, outcome), "{score:?}");
    }

    #[test]
    fn a_group_counts_by_its_weight_and_the_others_share_the_rest() {
        let metrics = [
            of(HIGH, "errors", false),
            of(USUAL, "latency", false),
            of(USUAL, "load", false),
            of(HIGH, "load", false),
        ];
        check(&metrics, &rule(&[("latency", 40.0)]), 55.0, ScoreOutcome::Fail);
        check(
            &metrics,
            &rule(&[("errors", 10.0), ("latency", 60.0)]),
            75.0,
            ScoreOutcome::Marginal,
        );
        check(&metrics[1..2], &rule(&[]), 100.0, ScoreOutcome::Pass);
    }

    #[test]
    fn the_score_has_two_digits() {
        let third = [of(USUAL, "a", false), of(HIGH, "b", false), of(HIGH, "c", false)];
        check(&third, &rule(&[]), 33.33, ScoreOutcome::Fail);
    }

    #[test]
    fn a_critical_metric_that_fails_leaves_nothing() {
        let most = [of(USUAL, "a", false), of(USUAL, "a", false), of(HIGH, "a", true)];
        check(&most, &rule(&[]), 0.0, ScoreOutcome::Fail);
        let silent = [of(USUAL, "a", false), of(USUAL, "a", false), of(NONE, "a", true)];
        check(&silent, &rule(&[]), 0.0, ScoreOutcome::Fail);
    }

    #[test]
    fn half_without_data_is_no_judgement_and_never_passes() {
        let half = [of(USUAL, "a", false), of(NONE, "a", false)];
        check(&half, &rule(&[]), 0.0, ScoreOutcome::Fail);
        let lenient = ScoreRule { pass: 0.0, marginal: 0.0, ..rule(&[]) };
        check(&half, &lenient, 0.0, ScoreOutcome::Fail);
        check(&[], &lenient, 0.0, ScoreOutcome::Fail);
        let third = [of(USUAL, "a", false), of(USUAL, "b", false), of(NONE, "c", false)];
        check(&third, &rule(&[]), 100.0, ScoreOutcome::Pass);
    }
}
