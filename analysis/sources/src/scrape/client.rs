//! Reading one page, and what can go wrong on the way.

use std::{error::Error as StdError, iter};

use bytes::Bytes;
use futures::future::BoxFuture;
use haldane_outside::{BodyError, Outside, body};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use super::{config::Place, exposition};
use crate::{
    counters::Labels,
    sampled::{Fault, Taken, Target, Wanted},
};

/// OpenMetrics first: its pages have an end, so that half of one is seen.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0;q=0.8,\
                        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// One page of metrics; each read takes its secrets anew.
#[derive(Clone, Debug)]
pub(super) struct Page {
    place: Place,
    outside: Outside,
}

/// Why a page was not read.
enum Unread {
    Silent(String),
    Refused(Fault),
}

// === impl Page ===

impl Page {
    pub(super) fn new(place: Place, outside: Outside) -> Self {
        Self { place, outside }
    }

    async fn read(self, wanted: Wanted) -> Taken {
        let patience = self.place.access.timeout;
        let fetched = timeout(patience, self.fetch()).await.unwrap_or_else(|_elapsed| {
            Err(Unread::Silent(format!("it did not answer within {patience:.1?}")))
        });
        let (is_open, page) = match fetched {
            Ok(fetched) => fetched,
            Err(Unread::Silent(why)) => return Taken::Silent(why),
            Err(Unread::Refused(fault)) => return Taken::Refused(self.told(fault)),
        };
        let labels = &self.place.labels;
        match exposition::read(&page, is_open, &wanted, labels) {
            Ok(exposition::Page { mut series, process }) => {
                series.push((self.up(), 1.0));
                Taken::Samples { series, process }
            }
            Err(why) => Taken::Refused(self.told(Fault::person(why))),
        }
    }

    /// Returns whether the page is OpenMetrics, and the page.
    async fn fetch(&self) -> Result<(bool, Bytes), Unread> {
        let Place { url, access, .. } = &self.place;
        let refused = |why: String| Unread::Refused(Fault::person(why));
        let http = self.outside.client(url, &access.tls).map_err(|e| refused(e.to_string()))?;
        let mut headers =
            access.request_headers(&self.outside).await.map_err(|e| refused(e.to_string()))?;
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(ACCEPTED));
        let request = http.get(url.clone()).headers(headers);
        let response = request.send().await.map_err(|error| unsent(&error))?;
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_open = kind.is_some_and(|kind| kind.starts_with("application/openmetrics-text"));
        let page = match body(response, access.body_bytes_max).await {
            Ok(page) => page,
            Err(error @ BodyError::TooLarge { .. }) => {
                return Err(refused(format!("{error} (maxBodyBytes)")));
            }
            Err(BodyError::Broken(_)) => {
                let why = "its page broke off";
                return Err(Unread::Refused(Fault::passing(why)));
            }
        };
        if status == 200 {
            return Ok((is_open, page));
        }
        let message = format!("it answered HTTP {status}: {}", exposition::excerpt(&page));
        let retryable = matches!(status, 408 | 429 | 500..=599);
        Err(Unread::Refused(Fault { message, retryable }))
    }

    fn up(&self) -> Labels {
        let mut labels = self.place.labels.clone();
        labels.insert("__name__".to_owned(), "up".to_owned());
        labels
    }

    fn told(&self, fault: Fault) -> Fault {
        Fault { message: format!("the target {}: {}", self.name(), fault.message), ..fault }
    }
}

impl Target for Page {
    fn name(&self) -> String {
        // A query may hold a secret.
        let mut shown = self.place.url.clone();
        shown.set_query(None);
        shown.to_string()
    }

    fn ups(&self) -> Vec<Labels> {
        vec![self.up()]
    }

    fn take(&self, wanted: Wanted) -> BoxFuture<'static, Taken> {
        Box::pin(self.clone().read(wanted))
    }
}

/// What a request means that got no answer: nobody is there, or nobody can be asked like this.
fn unsent(error: &reqwest::Error) -> Unread {
    let causes = || {
        let first: &(dyn StdError + 'static) = error;
        iter::successors(Some(first), |&error| error.source())
    };
    let root = causes().last().map_or_else(String::new, ToString::to_string);
    let is_certificate = causes().any(|one| one.to_string().contains("invalid peer certificate"));
    if error.is_builder() || error.is_redirect() || is_certificate {
        return Unread::Refused(Fault::person(format!("it cannot be asked: {root}")));
    }
    Unread::Silent(root)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{header, path, query_param},
    };

    use super::{super::config::Settings, *};
    use crate::{sampled::Selector, settings};

    async fn read(server: &MockServer, token: &str) -> Taken {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, token).unwrap();
        let written = json!({
            "targets": {"blue": [format!("{}/metrics?all=1", server.uri())]},
            "bearer": {"file": file}, "headers": {"X-Scope": "shop"},
        });
        let read = Settings::read(&settings::read(&written).unwrap()).unwrap();
        let place = read.targets.into_iter().next().unwrap();
        let wanted = Wanted(vec![Arc::new(Selector::read("x_total").unwrap())]);
        Page::new(place, Outside::default()).take(wanted).await
    }

    #[tokio::test]
    async fn a_target_is_asked_with_its_query_its_secret_and_what_it_may_answer() {
        let server = MockServer::start().await;
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let answer = |body: &str| ResponseTemplate::new(200).set_body_raw(body, open);
        Mock::given(path("/metrics"))
            .and(query_param("all", "1"))
            .and(header("authorization", "Bearer s3cret"))
            .and(header("x-scope", "shop"))
            .respond_with(answer("x_total{code=\"200\"} 5\n# EOF\n"))
            .mount(&server)
            .await;
        let taken = read(&server, "s3cret").await;
        let Taken::Samples { series, .. } = taken else { panic!("{taken:?}") };
        assert_eq!((series[0].1, series[0].0["code"].as_str()), (5.0, "200"));
        assert_eq!((series[1].1, series[1].0["__name__"].as_str()), (1.0, "up"));
        let accepted = &server.received_requests().await.unwrap()[0].headers["accept"];
        assert!(accepted.to_str().unwrap().starts_with("application/openmetrics-text"));

        let taken = read(&server, "wr0ng").await;
        let Taken::Refused(fault) = taken else { panic!("{taken:?}") };
        assert!(fault.message.contains("HTTP 404") && !fault.retryable, "{fault:?}");
        assert!(!fault.message.contains("wr0ng") && !fault.message.contains("all=1"), "{fault:?}");
    }
}
