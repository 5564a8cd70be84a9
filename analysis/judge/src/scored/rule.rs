//! The rule of a scored check, read from the plan's JSON: Kayenta's settings under their own names.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Allowed, Direction, Effect, MetricRule, Missing, Outliers, ScoreRule};

/// How many points of each metric are judged, where nothing is said: Kayenta's advice.
const POINTS: usize = 50;
const POINTS_MAX: usize = 100;
const METRICS_MAX: usize = 16;
/// From which scores on it passes, and is marginal, where nothing is said: Kayenta's tutorial.
const PASS: f64 = 75.0;
const MARGINAL: f64 = 50.0;
/// How many interquartile ranges from the quartiles an outlier lies; Kayenta's own.
const OUTLIER_FACTOR: f64 = 3.0;
/// The group of metrics that name none.
const GROUP: &str = "all";

/// How a scored check is judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScoredRule {
    /// Each metric by its name, and how it is judged.
    pub(crate) metrics: Vec<(String, MetricRule)>,
    /// From which score on it passes.
    pub(crate) score: ScoreRule,
    /// How many points of each metric are judged.
    pub(crate) points: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    score: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    metrics: Vec<WrittenMetric>,
    pass: Option<f64>,
    marginal: Option<f64>,
    points: Option<usize>,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenMetric {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    direction: WrittenDirection,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    must_have_data: bool,
    #[serde(default)]
    nan_strategy: WrittenMissing,
    #[serde(default)]
    outliers: WrittenOutliers,
    outlier_factor: Option<f64>,
    effect_size: Option<WrittenEffect>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenDirection {
    Increase,
    Decrease,
    #[default]
    Either,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenMissing {
    #[default]
    Remove,
    Replace,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenOutliers {
    #[default]
    Keep,
    Remove,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenEffect {
    #[serde(default)]
    measure: WrittenMeasure,
    allowed_increase: Option<f64>,
    allowed_decrease: Option<f64>,
    critical_increase: Option<f64>,
    critical_decrease: Option<f64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenMeasure {
    #[default]
    MeanRatio,
    Cles,
}

// === impl ScoredRule ===

impl ScoredRule {
    /// Reads `{"score": {"metrics": […], …}}`.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| format!("cannot read the rule: {error}"))?;
        let Written { metrics, pass, marginal, points, weights } = document.score;
        if metrics.is_empty() || metrics.len() > METRICS_MAX {
            return Err(format!("1 to {METRICS_MAX} metrics can be scored, got {}", metrics.len()));
        }
        let (pass, marginal) = (pass.unwrap_or(PASS), marginal.unwrap_or(MARGINAL));
        let within = |score: &f64| (0.0..=100.0).contains(score);
        if !within(&pass) || !within(&marginal) || marginal > pass {
            return Err(format!(
                "pass {pass} and marginal {marginal} must lie between 0 and 100, marginal not above \
                 pass"
            ));
        }
        let points = points.unwrap_or(POINTS);
        if !(5..=POINTS_MAX).contains(&points) {
            return Err(format!("points must lie between 5 and {POINTS_MAX}, got {points}"));
        }
        if weights.values().any(|weight| !within(weight)) || weights.values().sum::<f64>() > 100.0 {
            return Err(
                "weights must lie between 0 and 100, and be 100 at most together".to_owned()
            );
        }
        let metrics = metrics.into_iter().map(WrittenMetric::read).collect::<Vec<_>>();
        let unknown =
            |group: &&String| !metrics.iter().any(|(_, rule)| rule.groups.contains(group));
        if let Some(group) = weights.keys().find(unknown) {
            return Err(format!("weights names the group {group}, which no metric is in"));
        }
        Ok(Self { metrics, score: ScoreRule { pass, marginal, weights }, points })
    }
}

impl WrittenMetric {
    fn read(self) -> (String, MetricRule) {
        let groups = if self.groups.is_empty() { vec![GROUP.to_owned()] } else { self.groups };
        let rule = MetricRule {
            direction: match self.direction {
                WrittenDirection::Increase => Direction::Increase,
                WrittenDirection::Decrease => Direction::Decrease,
                WrittenDirection::Either => Direction::Either,
            },
            missing: match self.nan_strategy {
                WrittenMissing::Remove => Missing::Remove,
                WrittenMissing::Replace => Missing::Replace,
            },
            outliers: match self.outliers {
                WrittenOutliers::Keep => Outliers::Keep,
                WrittenOutliers::Remove => {
                    Outliers::Remove { factor: self.outlier_factor.unwrap_or(OUTLIER_FACTOR) }
                }
            },
            effect: self.effect_size.map_or_else(Effect::default, |effect| effect.read()),
            critical: self.critical,
            must_have_data: self.must_have_data,
            groups,
        };
        (self.name, rule)
    }
}

impl WrittenEffect {
    fn read(&self) -> Effect {
        let usual = match self.measure {
            WrittenMeasure::MeanRatio => 1.0,
            WrittenMeasure::Cles => 0.5,
        };
        let or = |value: Option<f64>| value.unwrap_or(usual);
        let allowed = Allowed {
            increase: or(self.allowed_increase),
            decrease: or(self.allowed_decrease),
            critical_increase: or(self.critical_increase),
            critical_decrease: or(self.critical_decrease),
        };
        match self.measure {
            WrittenMeasure::MeanRatio => Effect::MeanRatio(allowed),
            WrittenMeasure::Cles => Effect::Cles(allowed),
        }
    }
}
