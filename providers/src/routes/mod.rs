//! Routes in a Kubernetes API server: weights that lie in an object of somebody else's.
//!
//! What [`gateway`](crate::gateway) and [`istio`](crate::istio) have in common. One look is one GET, or none where the
//! engine watches the kind; one write is one JSON Patch; the first patch of a lowering goes out before anything is asked. An object is never made,
//! replaced or deleted, and nothing in it changes but the two weights of each rule and one annotation, and while a step
//! mirrors the mirrors of the rules and one annotation more.

mod company;
pub(crate) mod kind;
pub(crate) mod layout;
pub(crate) mod mirror;
pub(crate) mod object;
mod others;
mod patch;
pub(crate) mod services;
#[cfg(test)]
mod tests;
pub(crate) mod written;

use std::{fmt::Write as _, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::{self, BoxStream},
};
use haldane_model::{
    Accompanied, Acknowledged, Company, Direction, Health, Mark, Mirror, Part, Reading, Split,
    Weight,
};
use serde_json::{Value, json};

use self::{
    company::Escort,
    kind::{Kind, Said},
    layout::{Layout, Rule},
    object::{CALL_DEADLINE, Object},
    patch::Wish,
};
use crate::{Capabilities, Error, Roles, Sides, Snapshot, TrafficProvider};

/// How long a write may take, with everything that may have to be asked again.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// How long it takes until proxies have what an API server has: ten times what was measured.
const SETTLING: Duration = Duration::from_secs(2);

/// What else must be there before a rollout starts; returns what a person should know.
pub(crate) type Proof =
    Box<dyn Fn() -> BoxFuture<'static, Result<Vec<String>, Error>> + Send + Sync>;

/// One traffic entry that lies in route objects.
pub(crate) struct Routes {
    kind: &'static Kind,
    sides: Sides,
    objects: Vec<Object>,
    capabilities: Capabilities,
    proof: Proof,
}

/// What such a provider can do.
pub(crate) fn capabilities(kind: &Kind, layer7: bool, mirroring: bool) -> Capabilities {
    Capabilities {
        granularity: kind.granularity(),
        acknowledged: Acknowledged::Accepted,
        settling: SETTLING,
        write_deadline: WRITE_DEADLINE,
        signed: true,
        layer7,
        sticky: false,
        mirroring,
    }
}

// === impl Routes ===

impl Routes {
    /// Makes one of several objects of one kind.
    pub(crate) fn new(
        sides: &Sides,
        objects: Vec<Object>,
        capabilities: Capabilities,
        proof: Proof,
    ) -> Self {
        let kind = objects[0].target.kind;
        Self { kind, sides: sides.clone(), objects, capabilities, proof }
    }

    async fn preflight(&self) -> Result<Snapshot, Error> {
        let mut settings = serde_json::Map::new();
        let mut warnings = Vec::new();
        for object in &self.objects {
            let layout = object.look().await?;
            let title = object.target.title();
            let obstacle = object.obstacle(&layout).or_else(|| object.testers_obstacle(&layout));
            if let Some(why) = obstacle {
                return Err(Error::Invalid(format!("{title}: {why}")));
            }
            object.rehearse(&layout).await?;
            match &layout.said {
                Said::Yes => {}
                Said::NotYet(why) => return Err(Error::Unavailable(format!("{title}: {why}"))),
                Said::No(why) => return Err(Error::Invalid(format!("{title}: {why}"))),
            }
            warnings.extend(layout.fit().filter_map(|rule| warning(&title, rule)));
            if object.target.kind.in_order {
                warnings.extend(layout.testers().filter_map(|rule| late(&title, rule, &layout)));
            }
            let shares = layout.fit().map(|rule| (rule.label.clone(), weights(rule))).collect();
            settings.insert(title, Value::Object(shares));
        }
        warnings.extend((self.proof)().await?);
        Ok(Snapshot { settings: Value::Object(settings), warnings })
    }

    async fn read(&self) -> Result<Reading, Error> {
        let looks = join_all(self.objects.iter().map(Object::look)).await;
        let each: Vec<(&Object, Result<Layout, Error>)> = self.objects.iter().zip(looks).collect();
        let parts: Vec<Part> =
            each.iter().flat_map(|(object, look)| self.parts(object, look)).collect();
        let shares = || parts.iter().filter_map(|part| part.share.as_ref().ok().copied());
        let (Some(lowest), Some(highest)) = (shares().min(), shares().max()) else {
            return Err(self.nothing_told(&each, &parts));
        };
        let told = || each.iter().filter_map(|(object, look)| Some((object, look.as_ref().ok()?)));
        let writer =
            told().filter_map(|(_, look)| look.writer.clone()).map(|by| by.manager).next_back();
        let settled = |(object, look): (&&Object, &Layout)| {
            look.said == Said::Yes && object.age() >= SETTLING
        };
        Ok(Reading {
            side: self.sides.second.clone(),
            lowest,
            highest,
            acknowledged: Acknowledged::Accepted,
            settled: told().all(settled),
            measured: None,
            mark: told()
                .filter_map(|(_, look)| look.mark)
                .max_by_key(|mark| (mark.number, mark.kind)),
            writer,
            health: (Health::Untold, Health::Untold),
            company: self.company(&each),
            parts,
        })
    }

    /// Returns what accompanies the split. Where one rule copies, all are to: those that do not are told too.
    fn company(&self, each: &[(&Object, Result<Layout, Error>)]) -> Vec<Accompanied> {
        let sides = [&self.sides.first, &self.sides.second];
        let told = || each.iter().filter_map(|(_, look)| look.as_ref().ok());
        let mut company: Vec<_> = told().flat_map(|look| company::whom(look, sides)).collect();
        let copies: Vec<_> = told().flat_map(|look| company::copies(look, sides)).collect();
        if told().any(|look| look.note.is_some()) {
            let to = &self.sides.second;
            let none = || Mirror { to: to.clone(), share: Weight::ZERO };
            company.extend(
                copies.into_iter().map(|copy| Accompanied::Mirror(copy.unwrap_or_else(none))),
            );
        }
        company.dedup();
        company
    }

    fn escort(&self, company: &Company) -> Escort {
        Escort::of(company, &self.sides.second)
    }

    fn parts(&self, object: &Object, look: &Result<Layout, Error>) -> Vec<Part> {
        let many = self.objects.len() > 1;
        let name = |label: &str| match many {
            true => format!("{} {label}", object.target.name),
            false => label.to_owned(),
        };
        match look {
            Err(error) => {
                vec![Part { name: object.target.name.clone(), share: Err(error.to_string()) }]
            }
            Ok(layout) => layout
                .rules
                .iter()
                .map(|rule| match rule {
                    Ok(rule) => Part { name: name(&rule.label), share: rule.share() },
                    Err(unfit) => Part { name: name(&unfit.label), share: Err(unfit.why.clone()) },
                })
                .collect(),
        }
    }

    /// The error of a read that told no share: the object's own where it was not even read.
    fn nothing_told(&self, each: &[(&Object, Result<Layout, Error>)], parts: &[Part]) -> Error {
        let errors = each.iter().filter_map(|(_, look)| look.as_ref().err().cloned()).collect();
        if let Err(error) = together(self.objects.len(), errors) {
            return error;
        }
        let mut message = self.objects[0].target.title();
        for part in parts {
            if let Err(why) = &part.share {
                let _ = write!(message, ": {}: {why}", part.name);
            }
        }
        Error::Invalid(message)
    }

    async fn write(&self, split: Split, direction: Direction, mark: Mark) -> Result<(), Error> {
        let wish = Wish { split, direction, mark, second: self.sides.second.clone() };
        all(self.objects.iter().map(|object| object.write(&wish))).await
    }
}

/// Makes the same call on every object.
async fn all(
    calls: impl Iterator<Item = impl Future<Output = Result<(), Error>>>,
) -> Result<(), Error> {
    let done = join_all(calls).await;
    together(done.len(), done.into_iter().filter_map(Result::err).collect())
}

/// Makes one outcome of several; a newer rollback in one object concerns them all.
fn together(of: usize, mut errors: Vec<Error>) -> Result<(), Error> {
    if errors.len() <= 1 && of == 1 {
        return errors.pop().map_or(Ok(()), Err);
    }
    let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let conflict = errors.iter().any(|error| matches!(error, Error::Conflict(_)));
    let hopeless = errors.iter().all(|error| matches!(error, Error::Invalid(_)));
    match errors.len() {
        0 => Ok(()),
        _ if conflict => Err(Error::Conflict(message)),
        failed if failed < of => Err(Error::Partial { done: of - failed, of, message }),
        _ if hopeless => Err(Error::Invalid(message)),
        _ => Err(Error::Unavailable(message)),
    }
}

fn weights(rule: &Rule) -> Value {
    json!(rule.pair.each_ref().map(|backend| backend.weight))
}

fn warning(title: &str, rule: &Rule) -> Option<String> {
    let (name, weight) = rule.others.first()?;
    Some(format!(
        "{title}: {} also sends traffic to {name} (weight {weight}); shares are of what the two sides get",
        rule.label
    ))
}

/// Warns where a rule before a testers' one takes their requests: the first that matches is obeyed.
fn late(title: &str, rule: &Rule, layout: &Layout) -> Option<String> {
    let before =
        layout.fit().find(|split| split.place.0 == rule.place.0 && split.place.1 < rule.place.1)?;
    Some(format!(
        "{title}: {} comes after {}, which takes what it matches first; put the testers' route before it",
        rule.label, before.label
    ))
}

/// Ends a call by itself.
async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late =
        || Err(Error::Unavailable(format!("no answer from the API server within {deadline:?}")));
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| late())
}

impl TrafficProvider for Routes {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>> {
        within(WRITE_DEADLINE, self.preflight()).boxed()
    }

    fn representable(&self, split: &Split) -> Split {
        self.kind.representable(split)
    }

    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>> {
        within(2 * CALL_DEADLINE, self.read()).boxed()
    }

    fn write(
        &self,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) -> BoxFuture<'_, Result<(), Error>> {
        within(WRITE_DEADLINE, self.write(split, direction, mark)).boxed()
    }

    fn rehearse_mirror(&self, share: Weight) -> BoxFuture<'_, Result<(), Error>> {
        let calls = self.objects.iter().map(move |object| object.rehearse_mirror(share));
        within(WRITE_DEADLINE, all(calls)).boxed()
    }

    fn accompany(&self, company: Company, mark: Mark) -> BoxFuture<'_, Result<(), Error>> {
        let escort = self.escort(&company);
        let calls = self.objects.iter().map(move |object| object.accompany(escort, mark));
        within(WRITE_DEADLINE, all(calls)).boxed()
    }

    /// Testers go where everybody goes now, and nothing is copied.
    fn finish(&self, roles: Roles) -> BoxFuture<'_, Result<(), Error>> {
        let escort = self.escort(&Company { testers: roles.test, mirror: None });
        let calls = self.objects.iter().map(move |object| object.finish(escort));
        within(WRITE_DEADLINE, all(calls)).boxed()
    }

    fn release(&self, _snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        within(WRITE_DEADLINE, all(self.objects.iter().map(Object::release))).boxed()
    }

    /// Told by the watch, where there is one.
    fn changes(&self) -> BoxStream<'static, ()> {
        stream::select_all(self.objects.iter().map(Object::changes)).boxed()
    }
}
