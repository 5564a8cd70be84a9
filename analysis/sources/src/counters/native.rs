//! Native histograms: buckets whose bounds grow by a constant factor.
//!
//! With schema `s`, bucket `i` holds what lies in `(2^((i-1)·2^-s), 2^(i·2^-s)]` (Prometheus'
//! definition). Two schemas are compared at the lower one, where bucket `i` of a schema higher by
//! `d` is part of bucket `⌈i / 2^d⌉`. The zero bucket and negative ones lie below every bound.

use std::{collections::BTreeMap, ops::RangeInclusive};

/// The finest schema that counts are answered in: four bounds to each doubling.
const SCHEMA_MOST: i32 = 2;
/// The schemas that Prometheus knows.
const SCHEMAS: RangeInclusive<i32> = -4..=8;
/// The powers of two between which bounds are answered: one millisecond, in seconds, to one minute,
/// in milliseconds.
const POWERS: RangeInclusive<i32> = -10..=16;

/// Where what is infinite lies: above every bound.
const BEYOND: i32 = 1 << 20;

/// One native histogram, or what one gained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Native {
    /// All observations.
    pub count: f64,
    schema: Option<i32>,
    positive: BTreeMap<i32, f64>,
    low: f64,
}

/// One bucket as the query API shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// How many observations lie in it alone.
    pub count: f64,
}

// === impl Native ===

impl Native {
    /// Reads the buckets that the query API shows.
    ///
    /// # Errors
    /// Where their bounds are those of no schema.
    pub fn read(count: f64, buckets: &[Bucket]) -> Result<Self, String> {
        let mut native = Self { count, ..Self::default() };
        for bucket in buckets {
            if bucket.lower <= 0.0 {
                native.low += bucket.count;
                continue;
            }
            if bucket.upper.is_infinite() {
                *native.positive.entry(BEYOND).or_default() += bucket.count;
                continue;
            }
            let (schema, index) = place(bucket).filter(|(schema, _)| {
                native.schema.is_none_or(|known| known == *schema)
            }).ok_or_else(|| {
                format!(
                    "a native histogram has a bucket from {} to {}, of no schema: custom bounds \
                     are not read, ask for its classic buckets",
                    bucket.lower, bucket.upper
                )
            })?;
            native.schema = Some(schema);
            *native.positive.entry(index).or_default() += bucket.count;
        }
        Ok(native)
    }

    /// Builds one from the numbers of its positive buckets.
    #[must_use]
    pub fn from_indexes(schema: i32, positive: BTreeMap<i32, f64>) -> Self {
        Self { count: positive.values().sum(), schema: Some(schema), positive, low: 0.0 }
    }

    /// Returns the positive buckets in a schema that is not higher than its own.
    #[must_use]
    pub fn merged(&self, schema: i32) -> BTreeMap<i32, f64> {
        let down = self.schema.map_or(0, |own| (own - schema).max(0));
        let mut merged = BTreeMap::new();
        for (index, count) in &self.positive {
            *merged.entry((index + (1 << down) - 1) >> down).or_default() += count;
        }
        merged
    }

    /// Returns where a bucket ends.
    #[must_use]
    pub fn upper_bound(schema: i32, index: i32) -> f64 {
        (f64::from(index) * f64::from(-schema).exp2()).exp2()
    }

    /// What was gained since an earlier scrape; where anything fell, all began anew.
    pub(super) fn since(&self, before: &Self) -> Self {
        let schema = [self.schema, before.schema].into_iter().flatten().min();
        let at = |native: &Self| schema.map_or_else(BTreeMap::new, |schema| native.merged(schema));
        let (now, then) = (at(self), at(before));
        let fell = |(index, then): (&i32, &f64)| now.get(index).unwrap_or(&0.0) < then;
        if self.count < before.count || self.low < before.low || then.iter().any(fell) {
            return self.clone();
        }
        let positive = now
            .into_iter()
            .map(|(index, now)| (index, now - then.get(&index).unwrap_or(&0.0)))
            .collect();
        Self { count: self.count - before.count, schema, positive, low: self.low - before.low }
    }

    /// The schema in which its counts are answered at best.
    pub(super) fn schema_wanted(&self) -> i32 {
        self.schema.map_or(SCHEMA_MOST, |schema| schema.min(SCHEMA_MOST))
    }

    /// The buckets of a schema whose upper bounds are answered: always the same ones.
    pub(super) fn bounds(schema: i32) -> RangeInclusive<i32> {
        let index = |power: i32| match schema {
            0.. => power << schema,
            _ => power / (1 << -schema),
        };
        index(*POWERS.start())..=index(*POWERS.end())
    }

    /// How many observations lie above each bound of a schema.
    pub(super) fn above(&self, schema: i32) -> Vec<f64> {
        let merged = self.merged(schema);
        let above = |index: i32| {
            // Not `sum`: of nothing it is -0.
            merged.range(index + 1..).fold(0.0, |sum, (_, count)| sum + count)
        };
        Self::bounds(schema).map(above).collect()
    }
}

/// The schema and the number of a bucket, from its bounds.
fn place(bucket: &Bucket) -> Option<(i32, i32)> {
    let octaves = (bucket.upper / bucket.lower).log2();
    let schema = -octaves.log2();
    let whole = schema.round();
    if (schema - whole).abs() > 1e-3 {
        return None;
    }
    let schema = SCHEMAS.clone().find(|known| f64::from(*known) == whole)?;
    let index = (bucket.upper.log2() * f64::from(schema).exp2()).round();
    // Bounds lie within 2^-1074..2^1024, times 2^8: far from an i32's ends.
    Some((schema, index as i32))
}
