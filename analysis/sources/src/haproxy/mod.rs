//! HAProxy's own statistics, read from its admin sockets: requests and failures of both sides,
//! which are two backends, or servers of one.
//!
//! Errors are counted where a user meets them: a backend's 5xx are its servers' and those that
//! HAProxy answers itself where no server did. Each process counts for itself and begins anew with
//! a reload. The series are `http_requests_total` with `code`, as `metrics: prometheus` asks for
//! them. Of times there are only averages, so `latency` is refused. Nothing is ever written.

mod client;
mod config;
mod stat;

use std::sync::Arc;

use futures::future::BoxFuture;
use haldane_outside::Outside;
use serde_json::Value;
use tokio::time::timeout;

use self::{
    client::Address,
    config::{Settings, Written},
    stat::{Counted, REQUESTS},
};
use crate::{
    MetricSource, SettingsError, SourceEntry,
    counters::Labels,
    sampled::{self, Fault, Sampled, Selector, Taken, Target, Wanted},
    settings,
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: "haproxyStats",
    schema: || schemars::schema_for!(Written),
    check: config::check,
    join: config::join,
    answers: |_settings, question| sampled::answers(question, has),
    remembers: false,
    build,
};

/// One process.
#[derive(Clone, Debug)]
struct Process {
    address: Address,
    counted: Arc<Counted>,
    timeout: std::time::Duration,
}

fn build(settings: &Value, _outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: Written = settings::read(settings)?;
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let Settings { interval, timeout, addresses, counted } =
        Settings::read(&written).map_err(first)?;
    let counted = Arc::new(counted);
    let process = |address| {
        Arc::new(Process { address, counted: counted.clone(), timeout }) as Arc<dyn Target>
    };
    let processes = addresses.into_iter().map(process).collect();
    Ok(Arc::new(Sampled::new(processes, interval, knows)))
}

/// Which series can be looked for: other counters of requests are merely not there, so that a check
/// finds out what is.
fn knows(selector: &Selector) -> Result<(), String> {
    let text = &selector.text;
    if text.contains("_bucket") {
        return Err(format!(
            "`{text}`: HAProxy's statistics have averages of times, and no histogram: ask the \
             application's own metrics for `latency` (`scrape` or `prometheus`)"
        ));
    }
    let is_request = text.contains("http_") || selector.names(REQUESTS);
    is_request.then_some(()).ok_or_else(|| lacks(text))
}

/// Which series a check may be pinned with.
fn has(selector: &Selector) -> Result<(), String> {
    knows(selector)?;
    selector.names(REQUESTS).then_some(()).ok_or_else(|| lacks(&selector.text))
}

fn lacks(text: &str) -> String {
    format!(
        "`{text}`: HAProxy's statistics have requests alone, as {REQUESTS}: leave `metrics` out, or \
         write metrics: prometheus"
    )
}

// === impl Process ===

impl Process {
    async fn read(self, _wanted: Wanted) -> Taken {
        let (address, patience) = (&self.address, self.timeout);
        let commands = self.counted.commands();
        let told = match timeout(patience, client::ask(address, &commands)).await {
            Ok(told) => told,
            Err(_) => Err(Fault::passing(format!("it did not answer within {patience:.1?}"))),
        };
        let read = told.and_then(|told| {
            stat::read(&told, &self.counted, &address.to_string()).map_err(Fault::person)
        });
        match read {
            Ok((series, process)) => Taken::Samples { series, process: Some(process) },
            // A silent process says nothing about the sides behind it.
            Err(fault) => {
                let message = format!("HAProxy at {address}: {}", fault.message);
                Taken::Refused(Fault { message, ..fault })
            }
        }
    }
}

impl Target for Process {
    fn name(&self) -> String {
        self.address.to_string()
    }

    fn ups(&self) -> Vec<Labels> {
        self.counted.ups(&self.address.to_string())
    }

    fn take(&self, wanted: Wanted) -> BoxFuture<'static, Taken> {
        Box::pin(self.clone().read(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_refused_with_the_remedy_and_other_shapes_are_only_absent() {
        let told = |text| knows(&Selector::read(text).unwrap());
        let error = told("http_request_duration_seconds_bucket").unwrap_err();
        assert!(error.contains("averages") && error.contains("`scrape` or `prometheus`"));
        assert!(told("http_requests_total{code=~\"5..\"}").is_ok());
        assert!(told("{__name__=~\"http_requests_total|up\",side=\"a\"}").is_ok());
        assert!(told("http_server_request_duration_seconds_count").is_ok());
        assert!(told("payments_total").unwrap_err().contains("as http_requests_total"));
        let other = Selector::read("haproxy_backend_http_responses_total").unwrap();
        assert!(knows(&other).is_ok() && has(&other).unwrap_err().contains("leave `metrics` out"));
    }
}
