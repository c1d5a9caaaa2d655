{{- define "porthole.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "porthole.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "porthole.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "porthole.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "porthole.selector" -}}
app.kubernetes.io/name: {{ include "porthole.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "porthole.labels" -}}
{{ include "porthole.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "porthole.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/*
Refuses a password that is written where everybody may read it: takes a dict of
`value`, `key` (its name) and `at` (its path), and goes down into it.
*/}}
{{- define "porthole.noSecrets" -}}
{{- $at := .at }}
{{- if kindIs "map" .value }}
  {{- range $key, $value := .value }}
    {{- include "porthole.noSecrets" (dict "value" $value "key" $key "at" (printf "%s.%s" $at $key)) }}
  {{- end }}
{{- else if kindIs "slice" .value }}
  {{- $key := .key }}
  {{- range $i, $value := .value }}
    {{- include "porthole.noSecrets" (dict "value" $value "key" $key "at" (printf "%s[%d]" $at $i)) }}
  {{- end }}
{{- else if kindIs "string" .value }}
  {{- $named := regexMatch "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" .value }}
  {{- if and (regexMatch "^(password|password_hash|credential|secret|embed_key)$" .key) (not $named) }}
    {{- fail (printf "%s: a secret must not be written in values; name it as ${VAR} (secrets.env), or give its file (secrets.files)" $at) }}
  {{- end }}
  {{- $login := regexFind "://[^/]*@" .value }}
  {{- $inLogin := and (contains ":" (trimPrefix "://" $login)) (not (regexMatch "^://[^:]*:\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}@$" $login)) }}
  {{- /* As XiongMai's cameras have it: rtsp://host/user=admin&password=…&channel=1 */}}
  {{- $inPath := regexMatch "(?i)(password|passwd|pwd)=[^$]" .value }}
  {{- if or $inLogin $inPath }}
    {{- fail (printf "%s: the URL has a password in it; write ${VAR} in its place, and name the variable in secrets.env" $at) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* porthole.yaml, of `streams`, `auth`, `config` and the ports. */}}
{{- define "porthole.config" -}}
{{- include "porthole.noSecrets" (dict "value" .Values.streams "key" "" "at" "streams") }}
{{- include "porthole.noSecrets" (dict "value" .Values.config "key" "" "at" "config") }}
{{- include "porthole.noSecrets" (dict "value" .Values.auth "key" "" "at" "auth") }}
{{- if not .Values.auth }}
  {{- fail "auth is missing: choose who may watch (users, jwt, http, allow_from, embed_key_file), or write `auth: none` to let everybody in who reaches the pod" }}
{{- end }}
{{- if not .Values.streams }}
  {{- fail "streams is empty: a gateway without a camera does not start" }}
{{- end }}
{{- $webrtc := merge (dict "listen" (printf "0.0.0.0:%d" (int .Values.webrtc.port))) (default (dict) .Values.config.webrtc) }}
{{- $ours := dict
  "listen" (printf "0.0.0.0:%d" (int .Values.http.port))
  "admin" (dict "listen" (printf "0.0.0.0:%d" (int .Values.admin.port)) "scrape_from" .Values.admin.scrapeFrom)
  "auth" .Values.auth
  "drain" (printf "%ds" (int .Values.drainSeconds))
  "webrtc" $webrtc
  "streams" .Values.streams }}
{{- merge $ours (omit .Values.config "webrtc") | toYaml }}
{{- end }}

{{/* What viewers are told: a YAML list, with a variable that the kubelet fills in. */}}
{{- define "porthole.advertise" -}}
{{- $list := .Values.webrtc.advertise }}
{{- if and .Values.webrtc.advertiseNode (ne .Values.webrtc.exposure "loadBalancer") }}
  {{- $node := "$(HOST_IP)" }}
  {{- if eq .Values.webrtc.exposure "nodePort" }}
    {{- $node = printf "$(HOST_IP):%d" (int .Values.webrtc.nodePort) }}
  {{- end }}
  {{- $list = prepend $list $node }}
{{- end }}
{{- if $list }}{{ printf "[%s]" (join ", " $list) }}{{ end }}
{{- end }}
