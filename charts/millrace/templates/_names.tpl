{{/* Labels of everything the chart installs. */}}
{{- define "millrace.labels" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: millrace
{{- end -}}

{{/* What selects one component's pods: (list . "operator") */}}
{{- define "millrace.selector" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* An image's full name: (list . "operator") */}}
{{- define "millrace.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) | quote -}}
{{- end -}}

{{/* Whether the embedded store is installed: "true" or nothing. */}}
{{- define "millrace.embedded" -}}
{{- if not .Values.store.existingSecret }}true{{ end -}}
{{- end -}}

{{/* Whether the operator's rights reach every namespace: "true" or nothing. */}}
{{- define "millrace.everywhere" -}}
{{- if or .Values.watchLabel (has "*" .Values.watchNamespaces) }}true{{ end -}}
{{- end -}}

{{/* Which namespaces the operator watches, as it reads it. */}}
{{- define "millrace.watch" -}}
{{- if .Values.watchLabel }}{{ .Values.watchLabel }}{{ else if include "millrace.everywhere" . }}*{{ else }}{{ .Values.watchNamespaces | join "," }}{{ end -}}
{{- end -}}

{{/* The pod security standard "restricted", for a container. */}}
{{- define "millrace.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{- define "millrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "millrace.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Egress that Jobs and servers need: names, and the store. */}}
{{- define "millrace.reachable" -}}
{{ toYaml .Values.networkPolicy.dns }}
{{- if include "millrace.embedded" . }}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels: {{- include "millrace.selector" (list . "store") | nindent 10 }}
  ports: [{port: 7070, protocol: TCP}]
{{- end }}
{{- with .Values.networkPolicy.store }}
{{ toYaml . }}
{{- end }}
{{- end -}}
