// Stands for the original's replay tracker (contract 17.6): what it sends, and when; the same slips. Tests steer it by `testRecorder`.
(() => {
  const { site, api, options, held } = window.replayTest;
  const maximum = 500;
  const bufferLimit = 2000;
  let session = sessionStorage.getItem('session');
  if (!session) {
    session = `session-${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join('')}`;
    sessionStorage.setItem('session', session);
  }
  let sequence = Number(sessionStorage.getItem('sequence') ?? 0);
  let events = [];
  let first = true;
  let attached = 0;
  let sending = Promise.resolve();
  const sent = [];

  const bodyOf = (chunk, number) =>
    JSON.stringify({
      website_id: site,
      session_id: session,
      events: chunk,
      sequence: number,
      page: location.pathname,
    });

  const post = async (body) => {
    const answer = await fetch(`${api}/api/v1/replays/record`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    if (!answer.ok) throw new Error(`${answer.status}`);
  };

  const flush = () => {
    sending = sending.then(async () => {
      if (events.length === 0) return;
      const chunk = events;
      const number = sequence;
      events = [];
      const body = bodyOf(chunk, number);
      sequence = number + 1;
      sessionStorage.setItem('sequence', String(sequence));
      if (held) {
        sent.push(body);
        return;
      }
      try {
        await post(body);
        sent.push(body);
      } catch (error) {
        if (String(error).includes('400')) return;
        sequence = number;
        sessionStorage.setItem('sequence', String(sequence));
        if (events.length < bufferLimit) events = chunk.concat(events);
      }
    });
    return sending;
  };

  window.testRecorder = {
    session,
    sent,
    post,
    flush,
    waiting: () => events.length,
    attached: () => attached,
    record: () => {
      rrweb.record({
        maskAllInputs: true,
        ...options,
        emit(event) {
          events.push(event);
          if (event.data.isAttachIframe) attached++;
          if (events.length < (first ? 2 : maximum)) return;
          first = false;
          flush();
        },
      });
      setInterval(flush, 10_000);
    },
  };
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') flush();
  });
  window.addEventListener('beforeunload', () => {
    // The number is used up but not stored: the next page begins with it again.
    if (events.length === 0) return;
    const chunk = events;
    events = [];
    navigator.sendBeacon(`${api}/api/v1/replays/record`, bodyOf(chunk, sequence++));
  });
  testRecorder.record();
})();
