{{- /* What the engine may do, by concern: the same as in deploy/kustomize. */ -}}

{{- define "haldane.rules.rollouts" }}
- apiGroups: [haldane.dev]
  resources: [rollouts, rolloutrequests, analysistemplates, analysisruns]
  verbs: [get, list, watch]
- apiGroups: [haldane.dev]
  resources: [rollouts/status, rolloutrequests/status, analysisruns/status]
  verbs: [patch]
# The finalizer, so that a rollout in flight is put back before it goes. A policy refuses any change of `spec`.
- {apiGroups: [haldane.dev], resources: [rollouts], verbs: [patch]}
- {apiGroups: [haldane.dev], resources: [rollouts/finalizers], verbs: [update]}
- {apiGroups: [haldane.dev], resources: [rolloutrequests], verbs: [delete]}
- {apiGroups: [haldane.dev], resources: [analysisruns], verbs: [create, patch, delete]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
# Whether a namespace is being deleted; a Role allows its own alone.
- {apiGroups: [""], resources: [namespaces], verbs: [get]}
{{- end }}

{{- define "haldane.rules.workloads" }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets, replicasets]
  verbs: [get, list, watch]
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
{{- end }}

{{- define "haldane.rules.templates" }}
- {apiGroups: [haldane.dev], resources: [clusteranalysistemplates], verbs: [get, list, watch]}
{{- end }}

{{- define "haldane.rules.secrets" }}
- {apiGroups: [""], resources: [secrets], verbs: [get]}
{{- end }}

{{- define "haldane.rules.istio" }}
- {apiGroups: [networking.istio.io], resources: [virtualservices], verbs: [get, list, watch, patch]}
- {apiGroups: [networking.istio.io], resources: [destinationrules], verbs: [list]}
- {apiGroups: [""], resources: [services], verbs: [get]}
{{- end }}

{{- define "haldane.rules.gateway" }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, tlsroutes, tcproutes]
  verbs: [get, list, watch, patch]
- {apiGroups: [""], resources: [services], verbs: [get]}
{{- end }}

{{- /* A policy is for the namespaces of this release. */ -}}
{{- define "haldane.policyNamespaces" }}
{{- with .Values.namespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end }}
