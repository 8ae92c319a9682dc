/*
 * A tracker of our own that talks to the server exactly as the original one does: three GETs that need a preflight, batches by fetch,
 * what is left by beacon on unload, failed batches again and again with growing pauses, and from local storage after the next load.
 */
(() => {
  const script = document.currentScript;
  const siteId = script.dataset.websiteId;
  const base = `${script.dataset.apiHost}/api/v1/`;
  const batchSize = 10;
  const flushEveryMs = 30_000;
  const longestPauseMs = 60_000;
  const sessionMs = 30 * 60_000;

  // crypto.randomUUID needs a secure context, which a customer's page may not be.
  const uuid = () =>
    'xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx'.replace(/[xy]/g, (letter) => {
      const random = Math.floor(Math.random() * 16);
      return (letter === 'x' ? random : (random & 3) | 8).toString(16);
    });

  function visitorId() {
    const known = /(?:^|; )seentics_vid=([^;]+)/.exec(document.cookie)?.[1];
    const id = known ?? uuid();
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API needs a secure context
    document.cookie = `seentics_vid=${id}; path=/; max-age=${365 * 86_400}; SameSite=Lax`;
    return id;
  }

  function sessionId() {
    const last = Number(sessionStorage.getItem('seentics_last_activity') ?? 0);
    const known = sessionStorage.getItem('seentics_sid');
    const id = known && Date.now() - last < sessionMs ? known : uuid();
    sessionStorage.setItem('seentics_sid', id);
    sessionStorage.setItem('seentics_last_activity', String(Date.now()));
    return id;
  }

  const visitor = visitorId();
  const session = sessionId();
  const failedKey = 'seentics_failed_events';
  const saved = () => JSON.parse(localStorage.getItem(failedKey) ?? '[]');
  let queue = saved();
  let retryMs = 1_000;
  let pageViewId = uuid();
  let pageViewAt = Date.now();

  const body = (events) => JSON.stringify({ siteId, domain: location.hostname, events });

  async function flush() {
    if (queue.length === 0) return;
    const events = queue;
    queue = [];
    try {
      const answer = await fetch(`${base}analytics/batch`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: body(events),
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      await answer.json();
      localStorage.removeItem(failedKey);
      retryMs = 1_000;
    } catch {
      queue = events.concat(queue);
      localStorage.setItem(failedKey, JSON.stringify(saved().concat(events).slice(-100)));
      retryMs = Math.min(retryMs * 2, longestPauseMs);
      setTimeout(flush, retryMs);
    }
  }

  function track(fields) {
    queue.push({
      ...fields,
      visitor_id: visitor,
      session_id: session,
      timestamp: new Date().toISOString(),
    });
    if (queue.length >= batchSize) void flush();
  }

  const here = () => ({ page_view_id: pageViewId, page_url: location.href, page: location.pathname });

  function pageView() {
    pageViewId = uuid();
    pageViewAt = Date.now();
    track({
      event_type: 'pageview',
      event_name: 'page_view',
      ...here(),
      page_title: document.title,
      referrer: document.referrer,
      screen_width: screen.width,
      screen_height: screen.height,
      viewport_width: innerWidth,
      viewport_height: innerHeight,
      user_agent: navigator.userAgent,
      language: navigator.language,
    });
  }

  function followHistory() {
    let path = location.pathname;
    const changed = () => {
      if (location.pathname === path) return;
      path = location.pathname;
      pageView();
    };
    for (const name of ['pushState', 'replaceState']) {
      const original = history[name].bind(history);
      history[name] = (...args) => {
        original(...args);
        changed();
      };
    }
    addEventListener('popstate', changed);
  }

  // As in the original, the core's unload handler comes first and the page_exit after it, so that one usually waits in
  // the queue for the flush when the page becomes hidden.
  addEventListener('beforeunload', () => {
    if (queue.length > 0) {
      const blob = new Blob([body(queue)], { type: 'application/json' });
      if (navigator.sendBeacon(`${base}analytics/batch`, blob)) queue = [];
    }
  });
  addEventListener('beforeunload', () => {
    const seconds = Math.round((Date.now() - pageViewAt) / 1000);
    track({ event_type: 'page_exit', ...here(), properties: { time_on_page: seconds, scroll_depth: 0 } });
  });
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') void flush();
  });
  document.addEventListener('click', (event) => {
    const element = event.target.closest('[data-track]');
    if (!element) return;
    const properties = {
      element_tag: element.tagName.toLowerCase(),
      element_id: element.id,
      element_class: element.className,
      element_text: element.textContent.slice(0, 100),
    };
    track({ event_type: 'click', ...here(), properties });
  });
  setInterval(flush, flushEveryMs);
  followHistory();

  const read = async (path) => {
    const answer = await fetch(base + path, { headers: { 'Content-Type': 'application/json' } });
    return { status: answer.status, body: await answer.json().catch(() => undefined) };
  };

  window.testTracker = {
    track,
    flush,
    config: undefined,
    queued: () => queue.length,
    saved: () => saved().length,
  };
  void Promise.allSettled([
    read(`tracker/config/${siteId}`),
    read(`funnels/active?website_id=${siteId}`),
    read(`workflows/site/${siteId}/active`),
  ]).then(([config]) => {
    window.testTracker.config = config.value ?? null;
    pageView();
  });
})();
