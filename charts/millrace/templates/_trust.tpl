{{/* What the admission policies ask, in CEL: operator/millrace/render/admission/trust.py says what each means. */}}
{{- define "millrace.cel.operates" -}}
request.userInfo.username in {{ list (printf "system:serviceaccount:%s:millrace-operator" .Release.Namespace) | toJson }}
{{- end -}}

{{- define "millrace.cel.applies_for_others" -}}
request.userInfo.username in {{ .Values.admission.trustedAppliers | toJson }}
{{- end -}}

{{- define "millrace.cel.approves_as_account" -}}
request.userInfo.username in {{ .Values.admission.approvingAccounts | toJson }}
{{- end -}}

{{- define "millrace.cel.stores" -}}
request.userInfo.username in {{ list (printf "system:serviceaccount:%s:millrace-store" .Release.Namespace) | toJson }}
{{- end -}}

{{- define "millrace.cel.is_home" -}}
request.namespace == {{ ternary "" .Release.Namespace .Values.operator.shareNamespace | toJson }}
{{- end -}}

{{- define "millrace.cel.watched" -}}
string(
{{- if .Values.watchLabel }}{{ printf "all that are labelled %s" .Values.watchLabel | toJson }}
{{- else if include "millrace.everywhere" . }}{{ printf "all but %s" .Release.Namespace | toJson }}
{{- else }}{{ .Values.watchNamespaces | join ", " | toJson }}{{ end -}}
)
{{- end -}}

{{/* The namespaces that the policies rule: see Trust.ruled. */}}
{{- define "millrace.ruled" -}}
matchExpressions:
{{- if not (include "millrace.everywhere" .) }}
- {key: kubernetes.io/metadata.name, operator: In, values: {{ .Values.watchNamespaces | toJson }}}
{{- else if .Values.admission.otherNamespaces }}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ .Values.admission.otherNamespaces | toJson }}}
{{- else }}
- {key: kubernetes.io/metadata.name, operator: Exists}
{{- end }}
{{- end -}}

{{/* The namespaces that nobody watches: see Trust.elsewhere. */}}
{{- define "millrace.elsewhere" -}}
matchExpressions:
{{- if .Values.watchLabel }}
{{- $label := splitn "=" 2 .Values.watchLabel }}
- {key: {{ $label._0 | quote }}, operator: NotIn, values: [{{ $label._1 | quote }}]}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ concat (list .Release.Namespace) .Values.admission.otherNamespaces | toJson }}}
{{- else if or (include "millrace.everywhere" .) (has "*" .Values.admission.otherNamespaces) }}
- {key: kubernetes.io/metadata.name, operator: In, values: [{{ .Release.Namespace | quote }}]}
{{- else }}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ concat .Values.watchNamespaces (list .Release.Namespace) .Values.admission.otherNamespaces | toJson }}}
{{- end }}
{{- end -}}

{{/* Values that would put the operator where an editor can be it; rendered once, prints nothing. */}}
{{- define "millrace.check" -}}
{{- include "millrace.left" . }}
{{- if not (include "millrace.everywhere" .) }}
{{- if and (has .Release.Namespace .Values.watchNamespaces) (not .Values.operator.shareNamespace) }}
{{- fail (printf "watchNamespaces holds %s, where the operator itself is: whoever may edit there can act as the operator. Install into a namespace of its own (helm install ... --namespace millrace-system --create-namespace), or accept it with operator.shareNamespace=true" .Release.Namespace) }}
{{- end }}
{{- else if has "*" .Values.admission.otherNamespaces }}
{{- fail "admission.otherNamespaces holds *, so another release watches all namespaces that this one does not name: name them in watchNamespaces" }}
{{- else if and (include "millrace.embedded" .) (not .Values.operator.shareNamespace) }}
{{- fail "the embedded store has credentials for namespaces that are named: list them in watchNamespaces, or set store.existingSecret to the name that your Secret has in each namespace" }}
{{- end }}
{{- range concat .Values.admission.trustedAppliers .Values.admission.approvingAccounts }}
{{- $parts := splitList ":" . }}
{{- if and (hasPrefix "system:serviceaccount:" .) (has (index $parts 2) $.Values.watchNamespaces) }}
{{- fail (printf "%s lives in a namespace that is watched: whoever may edit there can act as it. Name an account of another namespace" .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Refuses an upgrade after which nobody would look at what is there: objects in the release's own namespace, where they were
     before there was watchNamespaces. `helm template` sees no cluster, and so nothing of this. */}}
{{- define "millrace.left" -}}
{{- if or (include "millrace.everywhere" .) (not (has .Release.Namespace .Values.watchNamespaces)) }}
{{- range $kind := list "Deployment" "TrainingRun" "Dataset" "Model" }}
{{- if $.Capabilities.APIVersions.Has (printf "millrace.dev/v1alpha1/%s" $kind) }}
{{- range (lookup "millrace.dev/v1alpha1" $kind $.Release.Namespace "").items }}
{{- fail (printf "the %s %s is in %s, which the operator would no longer watch. Upgrade in place with --set operator.shareNamespace=true --set watchNamespaces={%s}, or delete what is there first" $kind .metadata.name $.Release.Namespace $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
