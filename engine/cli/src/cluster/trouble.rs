//! What an API server refused, for people: what was asked, its own words, and whom to ask for what.

use haldane_model::RolloutId;
use haldane_outside::{ClusterError, Refusal};
use miette::{MietteDiagnostic, Report};

/// How our kinds get into a cluster.
const INSTALL: &str = "install Haldane there, its definitions at least: \
                       `haldane crds | kubectl apply --server-side -f -`";

/// Says why an object could not be read.
pub(crate) fn of_read(error: ClusterError, plural: &str, id: &RolloutId) -> Report {
    let what = plural.trim_end_matches('s');
    match &error {
        ClusterError::Refused(refusal) if refusal.code == 404 && refusal.object.is_some() => {
            let help = format!("`haldane get -n {}` lists what is there", id.namespace);
            report(format!("there is no {what} {id} in this cluster"), help)
        }
        ClusterError::Refused(_) | ClusterError::Unavailable(_) => general(
            error,
            &format!("{what} {id} cannot be read"),
            &format!("namespace {}", id.namespace),
        ),
    }
}

/// Says why objects could not be listed.
pub(crate) fn of_list(error: ClusterError, plural: &str, namespace: Option<&str>) -> Report {
    let (of, place) = match namespace {
        Some(namespace) => (format!(" of namespace {namespace}"), format!("namespace {namespace}")),
        None => (String::new(), "all namespaces, or name one with -n".to_owned()),
    };
    general(error, &format!("the {plural}{of} cannot be listed"), &place)
}

fn general(error: ClusterError, what: &str, place: &str) -> Report {
    match error {
        ClusterError::Refused(refusal) if refusal.code == 404 => {
            report(format!("{what}: this cluster does not know the kind"), INSTALL.to_owned())
        }
        ClusterError::Refused(refusal) if refusal.code == 403 => {
            let help = format!("ask for the role haldane-view in {place}");
            report(format!("{what}: {}", words(&refusal)), help)
        }
        error @ (ClusterError::Refused(_) | ClusterError::Unavailable(_)) => of(error, what),
    }
}

/// Says why something was not done, where nothing more is known.
pub(crate) fn of(error: ClusterError, what: &str) -> Report {
    match error {
        ClusterError::Refused(refusal) => {
            MietteDiagnostic::new(format!("{what}: {}", words(&refusal))).into()
        }
        ClusterError::Unavailable(why) => report(format!("{what}: {why}"), unavailable(&why)),
    }
}

/// Says why a request was not made.
pub(crate) fn of_request(
    error: ClusterError,
    id: &RolloutId,
    verb: &str,
    user: Option<&str>,
) -> Report {
    let what = format!("{id}: {verb} was not asked for");
    let namespace = &id.namespace;
    match error {
        ClusterError::Refused(refusal) if refusal.code == 403 => {
            let message = words(&refusal);
            // A policy says itself what is missing.
            let help = match message.contains("ask for the role") {
                true => format!(
                    "`kubectl -n {namespace} auth can-i {verb} rollouts.haldane.dev/{}` asks the same",
                    id.name
                ),
                false => role(verb, namespace, user),
            };
            report(format!("{what}: {message}"), help)
        }
        ClusterError::Refused(refusal) if refusal.code == 404 && refusal.object.is_none() => {
            report(
                format!("{what}: this cluster does not know RolloutRequests"),
                INSTALL.to_owned(),
            )
        }
        ClusterError::Unavailable(why) if !why.contains("answered 401") => {
            let help = format!(
                "it may be there nevertheless: `kubectl -n {namespace} get rolloutrequests`, then try again"
            );
            report(format!("{id}: whether {verb} is asked for is not known: {why}"), help)
        }
        error @ (ClusterError::Refused(_) | ClusterError::Unavailable(_)) => of(error, &what),
    }
}

/// Which role lets somebody use a verb, and how it is given.
fn role(verb: &str, namespace: &str, user: Option<&str>) -> String {
    let role = if verb == "resume" { "pause" } else { verb };
    let whom = match user {
        Some(user) => match user.strip_prefix("system:serviceaccount:") {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user={user}"),
        },
        None => "--user=YOU".to_owned(),
    };
    format!(
        "ask for the role haldane-{role} in namespace {namespace}: \
         kubectl -n {namespace} create rolebinding haldane-{role} --clusterrole=haldane-{role} {whom}"
    )
}

fn unavailable(why: &str) -> String {
    match why.contains("answered 401") {
        true => {
            "the credentials of this context are not valid, or no longer: log in anew".to_owned()
        }
        false => {
            "try again; `kubectl get --raw /readyz` tells whether it is there for others".to_owned()
        }
    }
}

/// The server's own words, with what it says of single fields where the sentence does not.
pub(super) fn words(refusal: &Refusal) -> String {
    let untold = refusal.causes.iter().filter(|cause| {
        let said = cause.split_once(": ").map_or(cause.as_str(), |(_, said)| said);
        !refusal.message.contains(said)
    });
    let mut words = vec![refusal.message.clone()];
    words.extend(untold.cloned());
    words.retain(|words| !words.is_empty());
    match words.is_empty() {
        true => format!("the API server answered {}", refusal.code),
        false => words.join("; "),
    }
}

fn report(message: String, help: String) -> Report {
    MietteDiagnostic::new(message).with_help(help).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, object: Option<&str>) -> ClusterError {
        let (message, object) = (message.to_owned(), object.map(ToOwned::to_owned));
        ClusterError::Refused(Refusal { code, message, object, causes: Vec::new() })
    }

    #[track_caller]
    fn says(report: &Report, words: &[&str]) {
        let help = report.help().map(|help| help.to_string()).unwrap_or_default();
        let told = format!("{report} | {help}");
        for word in words {
            assert!(told.contains(word), "{word:?} is missing in {told}");
        }
    }

    #[test]
    fn who_may_not_is_told_the_role_and_how_it_is_given() {
        let id = RolloutId::new("shop", "checkout");
        let user = Some("system:serviceaccount:shop:ci");
        let told = of_request(refused(403, "no", None), &id, "resume", user);
        says(
            &told,
            &[
                "shop/checkout: resume was not asked for: no",
                "--clusterrole=haldane-pause",
                "--serviceaccount=shop:ci",
            ],
        );
        let policy = refused(403, "jane may not abort: ask for the role haldane-abort", None);
        says(
            &of_request(policy, &id, "abort", user),
            &["auth can-i abort rollouts.haldane.dev/checkout"],
        );
    }

    #[test]
    fn a_cluster_without_the_kinds_and_one_without_the_object_are_told_apart() {
        let id = RolloutId::new("shop", "checkout");
        says(
            &of_read(refused(404, "page not found", None), "rollouts", &id),
            &["does not know the kind", "haldane crds"],
        );
        says(
            &of_read(refused(404, "not found", Some("checkout")), "rollouts", &id),
            &["there is no rollout shop/checkout"],
        );
    }
}
