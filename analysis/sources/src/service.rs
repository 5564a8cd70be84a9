//! What the settings of monitoring services have in common.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_outside::Outside;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Look, SettingsError,
    access::{self, Access, Parts},
    numbers::{Service, filled, unanswerable},
    question::{Ask, Text},
    reply::{Found, Refusal, refused},
    settings,
    web::Web,
};

/// The times that every service has, as written.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) scrape_interval: String,
    pub(crate) delay: String,
}

/// The times that every service has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How far apart points are.
    pub(crate) resolution: Duration,
    /// After how long a point is surely there.
    pub(crate) delay: Duration,
}

/// A service that is asked in its own language.
pub(crate) trait OwnLanguage: fmt::Debug + Send + Sync + 'static {
    /// What it is called where it is written.
    const KIND: &'static str;
    /// The times that it has.
    fn pace(&self) -> Pace;
    /// Asks for one number. Ends by itself.
    fn ask(
        &self,
        query: &str,
        look: &Look,
        end: Instant,
    ) -> impl Future<Output = Result<Found, Refusal>> + Send;
}

impl<S: OwnLanguage> Service for S {
    fn number(
        self: Arc<Self>,
        ask: Ask,
        look: Look,
        end: Instant,
    ) -> BoxFuture<'static, Result<Found, Refusal>> {
        Box::pin(async move {
            let query = own(S::KIND, &ask)?;
            self.ask(&filled(query, &look), &look, end).await
        })
    }

    fn resolution(&self) -> Duration {
        self.pace().resolution
    }

    fn delay(&self) -> Duration {
        self.pace().delay
    }
}

/// How settings say where a service is.
type Read<W> = fn(W) -> (Parts, Common);

/// Checks settings, adds the defaults, and reads every secret once.
pub(crate) fn check<W: Clone + Serialize + DeserializeOwned>(
    settings: &Value,
    read: Read<W>,
) -> Result<Value, Vec<SettingsError>> {
    let written: W = settings::read(settings).map_err(|error| vec![error])?;
    let (access, _) = self::read(read(written.clone()))?;
    access.check_outside(&Outside::default())?;
    Ok(serde_json::to_value(written).expect("settings can be written as JSON"))
}

/// Opens the way to a service.
pub(crate) fn open<W: DeserializeOwned>(
    settings: &Value,
    outside: &Outside,
    read: Read<W>,
) -> Result<(Web, Pace), SettingsError> {
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let (access, pace) = self::read(read(settings::read(settings)?)).map_err(first)?;
    access.check_outside(outside).map_err(first)?;
    Ok((Web::new(access, outside.clone()), pace))
}

/// The text of a question in the service's own language.
fn own<'a>(kind: &str, ask: &'a Ask) -> Result<&'a Text, Refusal> {
    if let Ask::Own { value, .. } = ask {
        return Ok(value);
    }
    Err(refused(unanswerable(kind, ask)))
}

fn read((parts, common): (Parts, Common)) -> Result<(Access, Pace), Vec<SettingsError>> {
    let mut errors = Vec::new();
    let resolution = access::duration("/scrapeInterval", &common.scrape_interval, &mut errors);
    let delay = settings::duration(&common.delay).unwrap_or_else(|| {
        let message = format!("{:?} cannot be read", common.delay);
        let help = "write a duration such as 60s, or 0s";
        errors.push(SettingsError::new("/delay", message, help));
        Duration::ZERO
    });
    let access = Access::read(parts, &mut errors);
    let access = access.filter(|_| errors.is_empty()).ok_or(errors)?;
    Ok((access, Pace { resolution, delay }))
}

/// The text without what stands between two of the same quotes.
pub(crate) fn without_quoted(text: &str, quotes: &str) -> String {
    let (mut bare, mut quote, mut escaped) = (String::new(), None, false);
    for letter in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if quotes.contains(letter) => quote = Some(letter),
            None => bare.push(letter),
        }
    }
    bare
}
