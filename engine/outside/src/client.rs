//! HTTP clients, shared by everybody who needs the same one.
//!
//! A client never follows a redirect to another host, never waits longer than [`DEADLINE_MAX`],
//! and verifies certificates unless it is told not to by name. Its users set a shorter deadline
//! around each call and read answers with [`crate::body`].

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, redirect};
use url::{Host, Url};

use crate::{
    Cluster, ClusterConfig, Collection, Mirror, OutsideError, Secret, SecretText, Tls, Trim,
    mirror::Mirrors, secrets::Secrets, tls::TlsMaterial,
};

/// The longest that any call takes, whatever its user waits for.
pub const DEADLINE_MAX: Duration = Duration::from_secs(120);

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 3;
/// Clients of rotated certificates are forgotten, oldest first.
const CLIENTS_MAX: usize = 64;

/// What a process shares on its way out. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outside {
    clients: Arc<Mutex<Vec<(ClientKey, Client)>>>,
    own_cluster: ClusterConfig,
    cluster: Arc<tokio::sync::Mutex<Option<Cluster>>>,
    /// The namespace of the rollout on whose behalf it is used.
    namespace: Option<Arc<str>>,
    /// What was read of Secrets; `None` outside a cluster, where none are read.
    secrets: Option<Arc<Secrets>>,
    /// What is watched, where anything is.
    mirrors: Option<(Arc<Mirrors>, Reach)>,
}

/// Where in its cluster an engine looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everywhere.
    Cluster,
    /// In these namespaces alone.
    Namespaces(Vec<Arc<str>>),
}

#[derive(Clone, PartialEq, Eq)]
struct ClientKey {
    tls: TlsMaterial,
    direct: bool,
}

// === impl Outside ===

impl Outside {
    /// Makes one whose own cluster is found here; by default it is found as kubectl finds it. Rollouts may name
    /// Secrets of their own namespaces there.
    #[must_use]
    pub fn in_cluster(own_cluster: ClusterConfig) -> Self {
        Self { own_cluster, secrets: Some(Arc::default()), ..Self::default() }
    }

    /// Returns the same way out on behalf of a rollout of this namespace: whatever it names lies there.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }

    /// Returns the same with watches: kinds that are asked for often are mirrored, as far as the engine looks.
    #[must_use]
    pub fn watching(self, reach: Reach) -> Self {
        Self { mirrors: Some((Arc::default(), reach)), ..self }
    }

    pub(crate) fn without_mirrors(&self) -> Self {
        Self { mirrors: None, ..self.clone() }
    }

    /// Returns the mirror of a kind as far as a namespace is concerned; `None` where nothing is watched, or not
    /// there. Everybody must trim a kind alike: the first one's word counts.
    #[must_use]
    pub fn mirror(&self, namespace: &str, api: &str, plural: &str, trim: Trim) -> Option<Mirror> {
        let (mirrors, reach) = self.mirrors.as_ref()?;
        let everywhere = Collection::everywhere(api, plural);
        let collection = match reach {
            Reach::Cluster => everywhere,
            Reach::Namespaces(known) if known.iter().any(|known| &**known == namespace) => {
                everywhere.within(namespace)
            }
            Reach::Namespaces(_) => return None,
        };
        Some(mirrors.get(self, collection, trim))
    }

    /// Returns the mirrors of a kind that together hold all that the engine looks at.
    #[must_use]
    pub fn mirrors(&self, api: &str, plural: &str, trim: Trim) -> Vec<Mirror> {
        let Some((mirrors, reach)) = &self.mirrors else { return Vec::new() };
        let everywhere = Collection::everywhere(api, plural);
        let collections = match reach {
            Reach::Cluster => vec![everywhere],
            Reach::Namespaces(known) => {
                known.iter().map(|namespace| everywhere.clone().within(namespace)).collect()
            }
        };
        let mirror = |collection| mirrors.get(self, collection, trim);
        collections.into_iter().map(mirror).collect()
    }

    /// Returns the mirror of one collection, whatever the engine looks at; `None` where nothing is watched.
    #[must_use]
    pub fn mirror_of(&self, collection: Collection, trim: Trim) -> Option<Mirror> {
        let (mirrors, _) = self.mirrors.as_ref()?;
        Some(mirrors.get(self, collection, trim))
    }

    /// Reads a secret: one of this machine at once, one of the cluster where it was not read just now.
    ///
    /// # Errors
    /// Where it is absent, empty or may not be read, naming the place and what to do.
    pub async fn secret(&self, secret: &Secret) -> Result<SecretText, OutsideError> {
        match (secret, &self.secrets, &self.namespace) {
            (Secret::SecretKeyRef(key), Some(secrets), Some(namespace)) => {
                Box::pin(secrets.read(self, namespace, key)).await
            }
            // Rollouts of a cluster are written by people who have no right to this machine.
            (Secret::File(_) | Secret::Env(_), Some(_), Some(_)) => Err(OutsideError::new(
                format!("{secret} is of the engine's own machine"),
                "name a Secret of the rollout's namespace: `secretKeyRef`",
            )),
            (_, _, _) => secret.read(),
        }
    }

    /// Returns the engine's own cluster: one client for all, made at the first use.
    ///
    /// Ask at each use: where the server stopped taking our credentials they are read anew.
    ///
    /// # Errors
    /// Where there is no configuration, or one that cannot be used, naming it.
    pub async fn cluster(&self) -> Result<Cluster, OutsideError> {
        let mut known = self.cluster.lock().await;
        if let Some(cluster) = known.as_ref().filter(|cluster| !cluster.is_refused()) {
            return Ok(cluster.clone());
        }
        let made = self.own_cluster.make().await?;
        *known = Some(made.clone());
        Ok(made)
    }

    /// Returns the client for a server: one for all who name the same certificates.
    ///
    /// Files are read anew, so ask at each use. Proxies of the environment are used, except
    /// for this machine itself.
    ///
    /// # Errors
    /// Where a file is absent or holds no certificate or key, naming it.
    pub fn client(&self, server: &Url, tls: &Tls) -> Result<Client, OutsideError> {
        let key = ClientKey { tls: tls.read()?, direct: is_this_machine(server) };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let client = build(&key).map_err(|error| {
            let message = format!("no TLS client can be made from {}: {error}", tls.files());
            OutsideError::new(message, "check that they hold PEM certificates and their key")
        })?;
        if clients.len() >= CLIENTS_MAX {
            clients.remove(0);
        }
        clients.push((key, client.clone()));
        Ok(client)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner).len();
        out.debug_struct("Outside").field("clients", &clients).finish()
    }
}

fn build(key: &ClientKey) -> Result<Client, reqwest::Error> {
    // Somebody else may have installed one already: that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("haldane/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(DEADLINE_MAX)
        .pool_idle_timeout(Duration::from_secs(60))
        .redirect(redirect::Policy::custom(follow));
    if key.direct {
        builder = builder.no_proxy();
    }
    key.tls.apply(builder)?.build()
}

/// Follows a redirect within the same origin only: credentials would travel with it.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let Some(first) = attempt.previous().first() else { return attempt.stop() };
    if first.origin() != attempt.url().origin() {
        let to = attempt.url().host_str().unwrap_or("another host").to_owned();
        return attempt.error(format!("a redirect to {to} is not followed: name that address"));
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

fn is_this_machine(server: &Url) -> bool {
    match server.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

    use super::*;
    use crate::{BodyError, body};

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_same_certificates_share_one_client() {
        let outside = Outside::default();
        let server = url("https://prometheus:9090");
        outside.client(&server, &Tls::default()).unwrap();
        outside.clone().client(&server, &Tls::default()).unwrap();
        assert_eq!(format!("{outside:?}"), "Outside { clients: 1 }");
        let other = Tls { insecure_skip_verify: true, ..Tls::default() };
        outside.client(&server, &other).unwrap();
        assert_eq!(format!("{outside:?}"), "Outside { clients: 2 }");
    }

    #[tokio::test]
    async fn a_rollout_of_a_cluster_reads_nothing_of_the_engines_own_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "the engine's own").unwrap();
        let outside = Outside::in_cluster(ClusterConfig::default());
        for secret in [Secret::File(file), Secret::Env("PATH".to_owned())] {
            assert!(Outside::default().within("shop").secret(&secret).await.is_ok());
            assert!(outside.secret(&secret).await.is_ok(), "the engine may read its own");
            let refused = outside.within("shop").secret(&secret).await.unwrap_err().to_string();
            assert!(refused.contains("of the engine's own machine"), "{refused}");
        }
    }

    #[test]
    fn rotated_certificates_are_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let tls = Tls { ca_file: Some(file.clone()), ..Tls::default() };
        let outside = Outside::default();
        for _ in 0..2 {
            let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
            fs::write(&file, made.cert.pem()).unwrap();
            outside.client(&url("https://a"), &tls).unwrap();
        }
        assert_eq!(format!("{outside:?}"), "Outside { clients: 2 }");
    }

    #[test]
    fn unusable_files_are_named() {
        #[track_caller]
        fn check(tls: &Tls, words: &str) {
            let error = Outside::default().client(&url("https://a"), tls).unwrap_err();
            assert!(error.message.contains(words), "{error:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let tls = Tls { ca_file: Some(file.clone()), ..Tls::default() };
        check(&tls, &format!("the file {} cannot be read", file.display()));
        fs::write(&file, "hello").unwrap();
        check(&tls, "holds no PEM block");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").unwrap();
        check(&tls, "no TLS client can be made from");
        check(
            &Tls { cert_file: Some(file), ..Tls::default() },
            "certFile is set and keyFile is not",
        );
    }

    #[tokio::test]
    async fn a_redirect_to_another_origin_is_not_followed() {
        let (here, there) = (MockServer::start().await, MockServer::start().await);
        let away = ResponseTemplate::new(307).insert_header("location", there.uri().as_str());
        Mock::given(any()).respond_with(away).mount(&here).await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&there).await;
        let client = Outside::default().client(&url(&here.uri()), &Tls::default()).unwrap();
        let error = client.get(here.uri()).send().await.unwrap_err();
        assert!(error.is_redirect(), "{error:?}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1 << 20]);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let client = Outside::default().client(&url(&server.uri()), &Tls::default()).unwrap();
        let fits = client.get(server.uri()).send().await.unwrap();
        assert_eq!(body(fits, 1 << 20).await.unwrap().len(), 1 << 20);
        let large = client.get(server.uri()).send().await.unwrap();
        let error = body(large, (1 << 20) - 1).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { .. }), "{error}");
    }
}
