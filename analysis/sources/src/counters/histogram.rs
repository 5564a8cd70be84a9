//! Histograms: how many requests lie above each bound.
//!
//! A classic histogram is one counter with several values: if one of them falls, all begin anew.
//! Where its bounds change without that, the two scrapes cannot be compared: the later one is a
//! new beginning and counts nothing. Bounds are numbers: `1`, `1.0` and `1e0` are the same one.

use std::collections::{BTreeMap, HashMap};

use super::{
    Class, Labels, Native, Samples, Scraped, Series, SideSeries, process, usable,
    windows::{Bad, Increase},
    without,
};

/// What one histogram holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Pairs of a bound and how many lie at or below it; the last bound is infinite.
    Classic(Vec<(f64, f64)>),
    Native(Native),
}

/// The bounds that every histogram of a look has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bounds {
    /// None: a request is bad or not.
    None,
    Classic(Vec<f64>),
    /// Those of a schema.
    Native(i32),
}

/// How one histogram is told from another.
type Key = Labels;

/// Counts what each histogram gained between two scrapes.
pub(super) fn increases(
    side: &SideSeries<'_>,
    except: &[Class],
    scraped: &Scraped,
) -> Vec<Increase> {
    let mut increases = Vec::new();
    for (labels, shapes) in histograms(side.all.iter().copied(), except) {
        let process = process(&labels);
        let mut before: Option<Shape> = None;
        for (at, shape) in shapes {
            if !shape.is_whole() {
                continue;
            }
            let gained = match &before {
                Some(before) => shape.since(before),
                None => scraped.before(&process, at).then(|| shape.clone()),
            };
            increases.extend(gained.map(|gained| Increase {
                process: process.clone(),
                at,
                total: gained.total(),
                bad: Bad::Above(gained),
            }));
            before = Some(shape);
        }
    }
    increases
}

/// Puts the buckets of each histogram together, scrape by scrape.
fn histograms<'a>(
    all: impl Iterator<Item = &'a Series>,
    except: &[Class],
) -> HashMap<Key, BTreeMap<i64, Shape>> {
    let left_out = |series: &Series| except.iter().any(|class| class.holds(&series.labels));
    let mut histograms = HashMap::new();
    for series in all.filter(|series| !left_out(series)) {
        read(&mut histograms, series);
    }
    histograms
}

fn read(histograms: &mut HashMap<Key, BTreeMap<i64, Shape>>, series: &Series) {
    match &series.samples {
        Samples::Histograms(samples) => {
            let shapes = histograms.entry(series.labels.clone()).or_default();
            for (at, native) in samples {
                shapes.entry(*at).or_insert_with(|| Shape::Native(native.clone()));
            }
        }
        Samples::Numbers(samples) => {
            let le = series.labels.get("le").and_then(|le| le.parse::<f64>().ok());
            let Some(le) = le.filter(|le| !le.is_nan()) else { return };
            let shapes = histograms.entry(without(&series.labels, &["le"])).or_default();
            for (at, value) in usable(samples) {
                let shape = shapes.entry(at).or_insert_with(|| Shape::Classic(Vec::new()));
                shape.insert(le, value);
            }
        }
    }
}

// === impl Shape ===

impl Shape {
    fn insert(&mut self, le: f64, value: f64) {
        let Self::Classic(buckets) = self else { return };
        let place = buckets.partition_point(|(bound, _)| *bound < le);
        // The same bound, written in another way.
        if buckets.get(place).is_none_or(|(bound, _)| *bound != le) {
            buckets.insert(place, (le, value));
        }
    }

    /// Whether all requests are known.
    fn is_whole(&self) -> bool {
        match self {
            Self::Classic(buckets) => buckets.last().is_some_and(|(le, _)| *le == f64::INFINITY),
            Self::Native(_) => true,
        }
    }

    fn total(&self) -> f64 {
        match self {
            Self::Classic(buckets) => buckets.last().map_or(0.0, |(_, count)| *count),
            Self::Native(native) => native.count,
        }
    }

    /// What was gained since an earlier scrape; `None` where the two cannot be compared.
    fn since(&self, before: &Self) -> Option<Self> {
        match (self, before) {
            (Self::Classic(now), Self::Classic(then)) => {
                let alike = now.len() == then.len()
                    && now.iter().zip(then).all(|((one, _), (other, _))| one == other);
                let fell = |((_, now), (_, then)): (&(f64, f64), &(f64, f64))| now < then;
                if self.total() < before.total() || (alike && now.iter().zip(then).any(fell)) {
                    return Some(self.clone());
                }
                let gained = now.iter().zip(then).map(|((le, now), (_, then))| (*le, now - then));
                alike.then(|| Self::Classic(gained.collect()))
            }
            (Self::Native(now), Self::Native(then)) => Some(Self::Native(now.since(then))),
            (Self::Classic(_), Self::Native(_)) | (Self::Native(_), Self::Classic(_)) => None,
        }
    }
}

// === impl Bounds ===

impl Bounds {
    /// Finds the bounds that all increases have.
    pub(super) fn common<'a>(
        increases: impl Iterator<Item = &'a Increase>,
    ) -> Result<Self, String> {
        Self::of(increases.filter_map(|increase| match &increase.bad {
            Bad::Above(shape) => Some(shape),
            Bad::Number(_) => None,
        }))
    }

    /// Finds the bounds that the last scrape of every histogram shows.
    pub(super) fn shown<'a>(
        all: impl Iterator<Item = &'a Series>,
        except: &[Class],
    ) -> Result<Self, String> {
        let counted = |series: &&Series| !except.iter().any(|class| class.holds(&series.labels));
        let has_any = |series: &&Series| match &series.samples {
            Samples::Numbers(samples) => !samples.is_empty(),
            Samples::Histograms(samples) => !samples.is_empty(),
        };
        let all: Vec<&Series> = all.filter(counted).filter(has_any).collect();
        if all.is_empty() {
            return Ok(Self::None);
        }
        let histograms = histograms(all.into_iter(), &[]);
        let last: Vec<&Shape> = histograms
            .values()
            .filter_map(|shapes| shapes.values().rfind(|shape| shape.is_whole()))
            .collect();
        match Self::of(last.into_iter())? {
            Self::None => {
                let message = "the series are no histogram: classic buckets carry `le`, up to \
                               +Inf; a native histogram has no `_bucket` in its name";
                Err(message.to_owned())
            }
            bounds @ (Self::Classic(_) | Self::Native(_)) => Ok(bounds),
        }
    }

    fn of<'a>(shapes: impl Iterator<Item = &'a Shape>) -> Result<Self, String> {
        let mut common = Self::None;
        for shape in shapes {
            common = common.and(shape)?;
        }
        Ok(common)
    }

    /// Keeps the bounds that one more histogram has.
    fn and(self, shape: &Shape) -> Result<Self, String> {
        let common = match (self, shape) {
            (Self::None, Shape::Classic(buckets)) => {
                let finite = buckets.iter().map(|(le, _)| *le).filter(|le| le.is_finite());
                Self::Classic(finite.collect())
            }
            (Self::None, Shape::Native(native)) => Self::Native(native.schema_wanted()),
            (Self::Classic(mut bounds), Shape::Classic(buckets)) => {
                bounds.retain(|bound| buckets.iter().any(|(le, _)| le == bound));
                Self::Classic(bounds)
            }
            (Self::Native(schema), Shape::Native(native)) => {
                Self::Native(schema.min(native.schema_wanted()))
            }
            (Self::Classic(_), Shape::Native(_)) | (Self::Native(_), Shape::Classic(_)) => {
                let message = "some of the histograms are classic and some are native: ask for \
                               one kind by its name";
                return Err(message.to_owned());
            }
        };
        if common == Self::Classic(Vec::new()) {
            let message = "the histograms of the sides' processes have no bound (le) in common: \
                           give both sides the same buckets";
            return Err(message.to_owned());
        }
        Ok(common)
    }

    /// How many there are; `None` where requests are bad without one.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Classic(bounds) => Some(bounds.len()),
            Self::Native(schema) => Some(Native::bounds(*schema).count()),
        }
    }

    /// The bounds themselves, rising.
    pub(super) fn values(&self) -> Vec<f64> {
        match self {
            Self::None => Vec::new(),
            Self::Classic(bounds) => bounds.clone(),
            Self::Native(schema) => {
                Native::bounds(*schema).map(|index| Native::upper_bound(*schema, index)).collect()
            }
        }
    }

    /// How many requests lie above each of them.
    pub(super) fn above(&self, shape: &Shape) -> Vec<f64> {
        match (self, shape) {
            (Self::Classic(bounds), Shape::Classic(buckets)) => {
                let at_most = |bound: &f64| buckets.iter().find(|(le, _)| le == bound);
                let above = |bound| {
                    at_most(bound).map_or(0.0, |(_, count)| (shape.total() - count).max(0.0))
                };
                bounds.iter().map(above).collect()
            }
            (Self::Native(schema), Shape::Native(native)) => native.above(*schema),
            (Self::None, _)
            | (Self::Classic(_), Shape::Native(_))
            | (Self::Native(_), Shape::Classic(_)) => Vec::new(),
        }
    }
}
