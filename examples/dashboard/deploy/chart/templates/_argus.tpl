{{/* Every setting of the dashboard, as its file has them. */}}
{{- define "argus.settings" -}}
{{- $packs := list -}}
{{- range .Values.packs }}{{ $packs = append $packs (printf "/packs/%s" .) }}{{ end -}}
{{- $fixed := dict "listen" "0.0.0.0:8080" "behind_https" true "in_cluster" true "data" "/data" -}}
{{- $given := dict "hosts" .Values.hosts "namespaces" .Values.namespaces "users" .Values.users "packs" $packs -}}
{{- mustMergeOverwrite (dict) .Values.settings $given $fixed | toYaml -}}
{{- end -}}

{{- define "argus.labels" -}}
app.kubernetes.io/name: argus
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The name of a role for the cluster has the release in it, so that two releases don't take it from each other. */}}
{{- define "argus.ofCluster" -}}
argus-ops:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- end -}}
