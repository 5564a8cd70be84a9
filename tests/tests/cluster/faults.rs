//! What the proxy before the server does to a client, and what it notes.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use haldane_tests::cluster::{Fault, Faults, Rule, shared};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use super::{PATIENCE, code, config_map, config_maps};

#[tokio::test]
async fn a_chosen_request_is_answered_by_the_proxy_so_often_and_no_other() {
    let namespace = shared().namespace("answers");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    for wanted in [409, 429, 500] {
        faults.add(Rule::new("PATCH", "/configmaps/here", Fault::Answer(wanted)).times(1));
    }
    let patch = json!([{"op": "replace", "path": "/data/key", "value": "other"}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
    for wanted in [409, 429, 500] {
        assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "value");
        assert_eq!(code(maps.patch("here", &PatchParams::default(), &patch).await), wanted);
    }
    maps.patch("here", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(maps.get("here").await.unwrap().data.unwrap()["key"], "other");

    let seen = faults.seen_of("PATCH", "/configmaps/here");
    let codes: Vec<Option<u16>> = seen.iter().map(|seen| seen.code).collect();
    assert_eq!(codes, [Some(409), Some(429), Some(500), Some(200)]);
    assert!(String::from_utf8_lossy(&seen[0].body).contains("/data/key"), "{:?}", seen[0].body);
    let reached = shared().requests().into_iter().filter(|request| {
        request.verb == "patch" && request.uri.contains(&format!("{namespace}/configmaps"))
    });
    assert!(reached.count() <= 1, "the other three never reached the server");
}

#[tokio::test]
async fn a_delayed_a_hanging_and_a_broken_request_are_told_apart_by_the_client() {
    let namespace = shared().namespace("delays");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();

    faults.add(Rule::new("GET", "/configmaps/here", Fault::Delay(Duration::from_secs(1))).times(1));
    let begin = Instant::now();
    maps.get("here").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));

    faults.add(Rule::new("GET", "/configmaps/here", Fault::Break).times(1));
    assert!(!matches!(maps.get("here").await, Ok(_) | Err(kube::Error::Api(_))));

    faults.add(Rule::any("/configmaps/here", Fault::Hang));
    let asked = tokio::time::timeout(Duration::from_secs(1), maps.get("here")).await;
    assert!(asked.is_err(), "{asked:?}");
    faults.clear();
    maps.get("here").await.unwrap();

    faults.add(Rule::new("DELETE", "", Fault::LoseAnswer));
    assert!(maps.delete("here", &DeleteParams::default()).await.is_err());
    assert!(maps.get_opt("here").await.unwrap().is_none(), "it was done all the same");
}

#[tokio::test]
async fn a_watch_is_cut_and_one_is_told_that_it_is_too_old() {
    let namespace = shared().namespace("watches");
    let faults = shared().faults();
    let maps = config_maps(&shared().admin().at(&faults.url()), &namespace);
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();
    let ends: [fn(&Faults) -> usize; 2] = [Faults::cut_watches, Faults::expire_watches];
    for end in ends {
        let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
        assert_eq!(end(&faults), 1);
        let cut = faults.seen_of("GET", "watch=true").len() == 1;
        let told = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        match told {
            Some(Ok(WatchEvent::Error(status))) => {
                assert!(!cut && status.code == 410, "{status:?}")
            }
            Some(Ok(event)) => panic!("{event:?}"),
            Some(Err(_)) | None => assert!(cut),
        }
    }
    let agent = &faults.seen()[0].agent;
    assert!(!agent.is_empty(), "the proxy notes who asked");
}
