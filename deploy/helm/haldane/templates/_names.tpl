{{- /* Names and labels. */ -}}

{{- define "haldane.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "haldane.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "haldane.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "haldane.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "haldane.account" -}}
{{- .Values.serviceAccount.name | default (include "haldane.fullname" .) -}}
{{- end -}}

{{- /* What tells this release's pods from all others. */ -}}
{{- define "haldane.selector" -}}
app.kubernetes.io/name: {{ include "haldane.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: engine
{{- end -}}

{{- define "haldane.labels" -}}
app.kubernetes.io/name: {{ include "haldane.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: haldane
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "haldane.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* One role for each concern that is switched on, as a JSON list. */ -}}
{{- define "haldane.concerns" -}}
{{- $concerns := list "rollouts" "workloads" -}}
{{- if .Values.providers.istio }}{{ $concerns = append $concerns "istio" }}{{ end -}}
{{- if .Values.providers.gateway }}{{ $concerns = append $concerns "gateway" }}{{ end -}}
{{- if eq .Values.secrets.access "All" }}{{ $concerns = append $concerns "secrets" }}{{ end -}}
{{- toJson $concerns -}}
{{- end -}}
