//! The routes of this suite: made, edited as others do, and driven.

use std::sync::{Arc, OnceLock};

use haldane_model::{Direction, Mark, Split, Weight};
use haldane_outside::{ClusterConfig, Outside};
use haldane_providers::{
    Error, Scope, SettingsError, Sides, Snapshot, TrafficProvider, contract::Bench, find,
};
use haldane_tests::cluster::{Access, Cluster, Foreign, shared};
use serde_json::{Value, json};

/// A kind of route: its provider, its field in the settings, its name in paths.
pub type Kind = (&'static str, &'static str, &'static str);

/// The Gateway API's.
pub const HTTP_ROUTE: Kind = ("gateway", "httpRoute", "httproutes");
/// Istio's.
pub const VIRTUAL_SERVICE: Kind = ("istio", "virtualService", "virtualservices");

/// The cluster of this suite, with the CRDs of both.
pub fn cluster() -> &'static Cluster {
    static READY: OnceLock<()> = OnceLock::new();
    let cluster = shared();
    READY.get_or_init(|| {
        cluster.install(Foreign::GatewayApi);
        cluster.install(Foreign::Istio);
    });
    cluster
}

fn sides() -> Sides {
    Sides { first: "blue".into(), second: "green".into() }
}

/// Checks settings as the engine does with a file of this namespace.
pub fn check(kind: &str, settings: &Value, namespace: &str) -> Result<Value, Vec<SettingsError>> {
    (find(kind).unwrap().check)(settings, Scope { namespace, sides: &sides() })
}

/// A route with a rule for testers, and one that splits; in a rule of its own another rollout's.
pub fn http_route() -> Value {
    let backend = |name: &str, weight: u64| json!({"name": name, "port": 80, "weight": weight});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "checkout", "annotations": {"note": "theirs"}},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": ["checkout.example"],
            "rules": [
                {
                    "name": "testers",
                    "matches": [{"headers": [{"name": "x-canary", "value": "1"}]}],
                    "backendRefs": [{"name": "checkout-green", "port": 80}],
                },
                {
                    "name": "primary",
                    "filters": [{"type": "RequestMirror", "requestMirror": {
                        "backendRef": {"name": "checkout-green", "port": 80}}}],
                    "backendRefs": [backend("checkout-blue", 100), backend("checkout-green", 0)],
                },
                {
                    "name": "search",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/search"}}],
                    "backendRefs": [backend("search-blue", 1), backend("search-green", 0)],
                },
            ],
        },
    })
}

/// The same in the words of Istio, without annotations.
pub fn virtual_service() -> Value {
    let route = |host: &str, weight: u64| json!({"destination": {"host": host}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "checkout"},
        "spec": {
            "hosts": ["checkout"],
            "http": [
                {
                    "name": "testers",
                    "match": [{"headers": {"x-canary": {"exact": "1"}}}],
                    "route": [{"destination": {"host": "checkout-green"}}],
                },
                {
                    "name": "primary",
                    "mirror": {"host": "checkout-green"},
                    "route": [route("checkout-blue", 100), route("checkout-green", 0)],
                    "retries": {"attempts": 2, "perTryTimeout": "2s"},
                },
            ],
        },
    })
}

/// Makes the Services of the two sides.
pub fn services(namespace: &str) {
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}], "selector": {"app": name}}})
    };
    let both = ["checkout-blue", "checkout-green"].map(|name| service(name).to_string());
    cluster().apply(namespace, &both.join("\n---\n"));
}

/// A route object of a test.
pub struct Route {
    pub namespace: String,
    pub plural: &'static str,
    kind: Kind,
}

impl Route {
    /// Makes one of a document.
    pub fn make(namespace: &str, kind: Kind, document: &Value) -> Self {
        let route = Self { namespace: namespace.to_owned(), plural: kind.2, kind };
        route.create(document);
        route
    }

    /// Makes one of the Gateway API with one rule that splits.
    pub fn of_kind(
        namespace: &str,
        plural: &'static str,
        field: &'static str,
        mut spec: Value,
    ) -> Self {
        spec["parentRefs"] = json!([{"name": "edge"}]);
        let backend = |name: &str| json!({"name": name, "port": 80});
        spec["rules"] =
            json!([{"backendRefs": [backend("checkout-blue"), backend("checkout-green")]}]);
        let kind = field.replace("Route", "").to_uppercase() + "Route";
        let document = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
            "metadata": {"name": "checkout"}, "spec": spec});
        Self::make(namespace, ("gateway", field, plural), &document)
    }

    pub fn create(&self, document: &Value) {
        cluster().apply(&self.namespace, &document.to_string());
    }

    pub fn delete(&self) {
        self.kubectl(&["delete", self.plural, "checkout"]);
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        cluster().admin().within(&self.namespace).kubectl(arguments)
    }

    /// As it is now.
    pub fn document(&self) -> Value {
        let told =
            self.kubectl(&["get", self.plural, "checkout", "-o=json", "--show-managed-fields"]);
        serde_json::from_str(&told).unwrap()
    }

    /// Does what another program does, under its name.
    pub fn edit(&self, manager: &str, operations: &[Value]) {
        let patch = format!("-p={}", Value::from(operations));
        let manager = format!("--field-manager={manager}");
        self.kubectl(&["patch", self.plural, "checkout", "--type=json", &manager, &patch]);
    }

    fn backends_path(&self) -> &'static str {
        match self.kind.0 {
            "istio" => "/spec/http/1/route",
            _ => "/spec/rules/1/backendRefs",
        }
    }

    /// Where the weight of the second side lies.
    pub fn weight_path(&self) -> String {
        format!("{}/1/weight", self.backends_path())
    }

    /// Changes the destinations of the rule that splits.
    pub fn rearrange(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let mut document = self.document();
        let backends = document.pointer_mut(self.backends_path()).unwrap();
        change(backends.as_array_mut().unwrap());
        let replace = json!({"op": "replace", "path": self.backends_path(), "value": backends});
        self.edit("somebody", &[replace]);
    }

    /// Says what a gateway's controller says that took the route as it is.
    pub fn accept(&self) {
        self.say("Accepted", "True");
    }

    /// Says one condition of the route as it is; the other is good.
    pub fn say(&self, told: &str, status: &str) {
        let generation = self.document()["metadata"]["generation"].clone();
        let condition = |kind: &str| {
            let status = if kind == told { status } else { "True" };
            json!({"type": kind, "status": status, "observedGeneration": generation,
                "reason": "Test", "message": "told by the test",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let conditions = ["Accepted", "ResolvedRefs"].map(condition);
        let parent = json!({"parentRef": {"name": "edge"}, "controllerName": "example/gateway",
            "conditions": conditions});
        let patch = format!("-p={}", json!({"status": {"parents": [parent]}}));
        let status = "--subresource=status";
        self.kubectl(&["patch", self.plural, "checkout", "--type=merge", status, &patch]);
    }

    /// Drives it as the administrator.
    pub fn driven(&self) -> Driven {
        Driven::new(self, cluster().admin())
    }
}

/// A provider in front of a route.
pub struct Driven {
    pub provider: Arc<dyn TrafficProvider>,
    route: Route,
}

impl Driven {
    /// Drives a route as somebody.
    pub fn new(route: &Route, access: &Access) -> Self {
        Self::in_namespace(&route.namespace, route.kind, access)
    }

    /// Drives what may not be there yet.
    pub fn in_namespace(namespace: &str, kind: Kind, access: &Access) -> Self {
        let route = Route { namespace: namespace.to_owned(), plural: kind.2, kind };
        let to = |name: &str| match kind.0 {
            "istio" => json!({"host": name}),
            _ => json!({"service": name, "port": 80}),
        };
        let settings = json!({
            kind.1: {"name": "checkout"},
            "destinations": {"blue": to("checkout-blue"), "green": to("checkout-green")},
        });
        Self::of(&route, access, &settings)
    }

    /// Drives a route by these settings.
    pub fn of(route: &Route, access: &Access, settings: &Value) -> Self {
        let kind = route.kind.0;
        let settings = check(kind, settings, &route.namespace).unwrap();
        let path = access.path().to_owned();
        let outside = Outside::in_cluster(ClusterConfig::Kubeconfig { path, context: None });
        let provider = (find(kind).unwrap().build)(&settings, &sides(), &outside).unwrap();
        let route =
            Route { namespace: route.namespace.clone(), plural: route.plural, kind: route.kind };
        Self { provider, route }
    }

    pub async fn raise(&self, points: u32, number: u64) -> Result<(), Error> {
        let split = Split::new("green".into(), Weight::from_basis_points(points).unwrap());
        self.provider.write(split, Direction::Raise, Mark::raise(number)).await
    }

    pub async fn lower(&self, number: u64) -> Result<(), Error> {
        let split = Split::new("green".into(), Weight::ZERO);
        self.provider.write(split, Direction::Lower, Mark::rollback(number)).await
    }

    pub async fn release(&self) -> Result<(), Error> {
        self.provider.release(Snapshot::default()).await
    }
}

impl Bench for Driven {
    fn provider(&self) -> Arc<dyn TrafficProvider> {
        self.provider.clone()
    }

    fn sides(&self) -> Sides {
        sides()
    }

    fn foreign_write(&self, share: Weight) {
        let second = u64::from(share.basis_points());
        let backends = self.route.backends_path();
        let set = |at: usize, weight: u64| json!({"op": "replace", "path": format!("{backends}/{at}/weight"), "value": weight});
        self.route.edit("somebody", &[set(0, 10_000 - second), set(1, second)]);
    }
}

/// The YAML blocks of a page.
pub fn blocks(page: &str) -> Vec<String> {
    let opened = page.split("```yaml\n").skip(1);
    opened.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The Role of a page without some verbs, bound to the account `engine`.
pub fn role_of(page: &str, namespace: &str, without: &[&str]) -> String {
    let role = blocks(page).into_iter().find(|block| block.contains("kind: Role")).unwrap();
    let mut role: Value = serde_saphyr::from_str(&role).unwrap();
    for rule in role["rules"].as_array_mut().unwrap() {
        let verbs = rule["verbs"].as_array_mut().unwrap();
        verbs.retain(|verb| !without.contains(&verb.as_str().unwrap()));
    }
    let name = &role["metadata"]["name"];
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "engine", "namespace": namespace}],
    });
    format!("{role}\n---\n{binding}")
}
