//! The routes before a mesh: the same three rules, in each way to say them, and the settings that drive them.

use serde_json::{Value, json};

use super::{Door, HOST, SIDES, VERSIONS};

/// A way to say the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A VirtualService between two Services.
    Hosts,
    /// A VirtualService between two subsets of one Service.
    Subsets,
    /// An HTTPRoute.
    HttpRoute,
}

// === impl Way ===

impl Way {
    /// Returns where its users come in.
    #[must_use]
    pub fn door(self) -> Door {
        match self {
            Self::Hosts | Self::Subsets => Door::Istio,
            Self::HttpRoute => Door::GatewayApi,
        }
    }

    /// Returns what its kind is called in paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Hosts | Self::Subsets => "virtualservices",
            Self::HttpRoute => "httproutes",
        }
    }

    /// Returns the provider that drives it.
    #[must_use]
    pub fn provider(self) -> &'static str {
        match self {
            Self::Hosts | Self::Subsets => "istio",
            Self::HttpRoute => "gateway",
        }
    }

    /// Returns the settings of that provider.
    #[must_use]
    pub fn settings(self) -> Value {
        let field = match self {
            Self::Hosts | Self::Subsets => "virtualService",
            Self::HttpRoute => "httpRoute",
        };
        let [blue, green] = [0, 1].map(|at| match self {
            Self::Hosts | Self::Subsets => self.destination(at),
            Self::HttpRoute => json!({"service": format!("web-{}", SIDES[at]), "port": 80}),
        });
        json!({field: {"name": "web"}, "destinations": {"blue": blue, "green": green}})
    }

    /// Returns the route, called `web`: its rule `primary` splits, with all users on blue. `testers`, who send
    /// `x-canary: 1`, are on green, and green is sent a copy of what blue is asked under `/mirrored`.
    #[must_use]
    pub fn document(self) -> Value {
        match self {
            Self::Hosts | Self::Subsets => self.virtual_service(),
            Self::HttpRoute => http_route(),
        }
    }

    /// What serves a side, in the words of a VirtualService.
    fn destination(self, at: usize) -> Value {
        match self {
            Self::Subsets => json!({"host": "web", "subset": VERSIONS[at]}),
            Self::Hosts | Self::HttpRoute => json!({"host": format!("web-{}", SIDES[at])}),
        }
    }

    fn virtual_service(self) -> Value {
        let [blue, green] = [0, 1].map(|at| self.destination(at));
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "web"},
            "spec": {
                "hosts": [HOST],
                "gateways": ["gw"],
                "http": [
                    {
                        "name": "testers",
                        "match": [{"headers": {"x-canary": {"exact": "1"}}}],
                        "route": [{"destination": green}],
                    },
                    {
                        "name": "mirrored",
                        "match": [{"uri": {"prefix": "/mirrored"}}],
                        "route": [{"destination": blue}],
                        "mirror": green,
                        "mirrorPercentage": {"value": 100.0},
                    },
                    {
                        "name": "primary",
                        "route": [
                            {"destination": blue, "weight": 100},
                            {"destination": green, "weight": 0},
                        ],
                    },
                ],
            },
        })
    }
}

fn http_route() -> Value {
    let [blue, green] = SIDES.map(|side| json!({"name": format!("web-{side}"), "port": 80}));
    let weighed = |to: &Value, weight: u64| {
        let mut to = to.clone();
        to["weight"] = weight.into();
        to
    };
    let copied = json!({"type": "RequestMirror", "requestMirror": {"backendRef": green}});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [HOST],
            "rules": [
                {
                    "name": "testers",
                    "matches": [{"headers": [{"name": "x-canary", "value": "1"}]}],
                    "backendRefs": [green],
                },
                {
                    "name": "mirrored",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/mirrored"}}],
                    "filters": [copied],
                    "backendRefs": [blue],
                },
                {"name": "primary", "backendRefs": [weighed(&blue, 100), weighed(&green, 0)]},
            ],
        },
    })
}
