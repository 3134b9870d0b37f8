// In the browser, before Omniboard: gives the table of runs its first columns, where nobody has chosen any yet.
// Omniboard keeps the table's state in local storage, as `DATABASE|RunsTable|1`.
'use strict';

(async () => {
  const { main, view } = document.currentScript.dataset;
  const { database, columns } = JSON.parse(view);
  const key = `${database}|RunsTable|1`;
  const RENAMED = {
    experiment_name: 'experiment.name',
    hostname: 'host.hostname',
    tags: 'omniboard.tags',
    notes: 'omniboard.notes',
  };
  const OWN = [
    ...['_id', 'experiment_name', 'duration', 'status', 'tags', 'notes', 'command', 'start_time', 'stop_time'],
    ...['heartbeat', 'hostname', 'result', 'resources', 'format'],
  ];
  const WIDTH = 150; // of a column that the view says nothing of

  async function ask(what) {
    const place = `/${encodeURIComponent(database)}/api/v1/${what}`;
    const answer = await fetch(place, { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
    return answer.json();
  }

  const title = (name) => name.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');
  const option = (name, selected) => ({ label: title(name), value: name, selected });

  // The state of a table that shows the view's columns, and those that the user has defined; the others can be chosen.
  function first(defined, sections) {
    const names = defined.map((column) => column.name);
    const known = new Set([...OWN, ...names]);
    const shown = [...new Set([...Object.keys(columns).filter((name) => known.has(name)), ...names])];
    const hidden = [...OWN, ...sections].filter((name) => !shown.includes(name));
    const all = [...shown, ...hidden];
    return {
      columnOrder: shown,
      columnWidths: Object.fromEntries(all.map((name) => [name, columns[name] || WIDTH])),
      dropdownOptions: all.map((name) => option(name, shown.includes(name))),
      metricAndCustomColumns: defined,
      columnNameMap: {
        ...RENAMED,
        ...Object.fromEntries(sections.map((name) => [name, name.replace('c_', 'config.')])),
        ...Object.fromEntries(defined.map((column) => [column.name, column.value])),
      },
    };
  }

  // Sections of settings that other runs brought since, as columns to choose from.
  function extended(state, sections) {
    const fresh = sections.filter((name) => !(name in state.columnWidths));
    for (const name of fresh) {
      state.dropdownOptions.push(option(name, false));
      state.columnWidths[name] = WIDTH;
      state.columnNameMap[name] = name.replace('c_', 'config.');
    }
    return state;
  }

  try {
    const [metrics, customs, runs] = await Promise.all([
      ask('Omniboard.Metric.Columns'),
      ask('Omniboard.Custom.Columns'),
      ask('Runs?select=config&limit=50&sort_by=_id&order_by=-1'),
    ]);
    const sections = [...new Set(runs.flatMap((run) => Object.keys(run.config || {})))].map((name) => `c_${name}`);
    const defined = [
      ...metrics.map(({ name }) => ({ name, value: name })),
      ...customs.map(({ name, config_path: value }) => ({ name, value })),
    ];
    const stored = JSON.parse(localStorage.getItem(key));
    const chosen = stored && stored.columnOrder && stored.columnOrder.length;
    const state = chosen ? extended(stored, sections) : { ...stored, ...first(defined, sections) };
    localStorage.setItem(key, JSON.stringify(state));
  } catch (error) {
    console.warn('The table opens as Omniboard opens it:', error);
  }
  const script = document.createElement('script');
  script.src = main;
  document.body.append(script);
})();
