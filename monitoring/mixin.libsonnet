// The rules and the dashboard of this directory as a mixin, with configuration.
//
//   local fpm = (import 'mixin.libsonnet') + { _config+:: { job: 'job="php"' } };
//   std.manifestYamlDoc(fpm.prometheusAlerts)
{
  _config:: {
    // Selects the scrape job in FpmListenerAbsent.
    job: 'job=~".*fpm.*"',
    // Names of alerts that are left out.
    without: [],
    // By name of an alert: another duration, such as { FpmListenQueue: '10m' }.
    durations: {},
    // By name of an alert: another severity.
    severities: {},
    // Labels of all alerts.
    labels: {},
    // Stands before docs/runbook.md: the address of the repository, with a slash at its end.
    runbookBase: '',
  },

  local config = self._config,
  local shipped = std.parseYaml(importstr 'rules.yml'),

  local configured(rule) = rule {
    expr: std.strReplace(super.expr, 'job=~".*fpm.*"', config.job),
    [if std.objectHas(config.durations, rule.alert) then 'for']: config.durations[rule.alert],
    labels+: config.labels + (
      if std.objectHas(config.severities, rule.alert)
      then { severity: config.severities[rule.alert] } else {}
    ),
    annotations+: {
      runbook_url:
        (if std.startsWith(super.runbook_url, 'docs/') then config.runbookBase else '')
        + super.runbook_url,
    },
  },

  prometheusAlerts+:: {
    groups+: [
      group {
        rules: [configured(rule) for rule in group.rules if !std.member(config.without, rule.alert)],
      }
      for group in shipped.groups
    ],
  },

  grafanaDashboards+:: { 'fpm-listener.json': import 'grafana-dashboard.json' },
}
