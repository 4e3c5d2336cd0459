{{/* What the admission policies ask, in CEL: operator/millrace/render/admission/trust.py says what each means. */}}
{{- define "millrace.cel.operates" -}}
{{- $users := list (printf "system:serviceaccount:%s:millrace-operator" .Release.Namespace) -}}
{{- range .Values.admission.otherReleases }}{{ $users = append $users (printf "system:serviceaccount:%s:millrace-operator" .namespace) }}{{ end -}}
request.userInfo.username in {{ $users | toJson }}
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

{{- define "millrace.cel.is_watched" -}}
(
{{- if .Values.watchLabel -}}
{{- $label := splitn "=" 2 .Values.watchLabel -}}
has(namespaceObject.metadata.labels) && {{ $label._0 | toJson }} in namespaceObject.metadata.labels && namespaceObject.metadata.labels[{{ $label._0 | toJson }}] == {{ $label._1 | toJson }}
{{- else if include "millrace.everywhere" . -}}
request.namespace != {{ .Release.Namespace | toJson }}
{{- else -}}
request.namespace in {{ .Values.watchNamespaces | toJson }}
{{- end -}}
{{- range .Values.admission.otherReleases }} || request.namespace in {{ .watchNamespaces | toJson }}{{ end -}}
)
{{- end -}}

{{- define "millrace.cel.watched" -}}
string(
{{- if .Values.watchLabel }}{{ printf "all that are labelled %s" .Values.watchLabel | toJson }}
{{- else if include "millrace.everywhere" . }}{{ printf "all but %s" .Release.Namespace | toJson }}
{{- else }}{{ .Values.watchNamespaces | join ", " | toJson }}{{ end -}}
)
{{- end -}}

{{/* Values that would put the operator where an editor can be it; rendered once, prints nothing. */}}
{{- define "millrace.check" -}}
{{- if not (include "millrace.everywhere" .) }}
{{- if and (has .Release.Namespace .Values.watchNamespaces) (not .Values.operator.shareNamespace) }}
{{- fail (printf "watchNamespaces holds %s, where the operator itself is: whoever may edit there can act as the operator. Install into a namespace of its own (helm install ... --namespace millrace-system --create-namespace), or accept it with operator.shareNamespace=true" .Release.Namespace) }}
{{- end }}
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
