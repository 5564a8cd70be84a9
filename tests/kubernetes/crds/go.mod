// The CRDs of Istio and of the Gateway API, which lie in their modules. Apart from the API server's module, whose versions they
// would raise. Nothing here is compiled; ../../kubernetes.sh copies the files out of the module cache.
module haldane.dev/tests/kubernetes/crds

go 1.26.0

require (
	istio.io/api v1.31.1
	sigs.k8s.io/gateway-api v1.6.0
)
