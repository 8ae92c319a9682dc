// A document as text, so that a recorded page and its replay can be compared. What differs by design is left out:
// scripts (the player makes noscript of them), the policy of our own and the player's style rules, contents of style sheets (the player
// adds hover rules; computed styles are compared apart), hover classes, addresses of frames, attributes that run or send something,
// `autocomplete` (the player sets it), and values, which are compared masked.
window.serialiseDocument = (document) => {
  const dropped =
    /^(on.*|action|formaction|target|ping|srcdoc|sandbox|allow|nonce|integrity|autocomplete|value|checked|selected|rr_.*|crossorigin|autofocus|method|data-rr-.*)$/;
  const open = new Set(['checkbox', 'radio', 'submit', 'button', 'reset', 'hidden', 'image']);
  const address = (element, value) => {
    if (value === '' || value.startsWith('data:')) return value;
    try {
      return new URL(value, element.ownerDocument.recordedAt ?? element.baseURI).href;
    } catch {
      return value;
    }
  };
  const attributes = (element, tag) => {
    const kept = [];
    for (const { name, value } of element.attributes) {
      if (dropped.test(name) || (tag === 'iframe' && name === 'src')) continue;
      if (name === 'href' || name === 'src') kept.push(`${name}=${address(element, value)}`);
      else if (name === 'style') kept.push(`style=${element.style.cssText}`);
      else if (name === 'class') {
        const classes = value
          .split(/\s+/)
          .filter((one) => one !== '' && one !== ':hover' && one !== 'rrweb-paused');
        if (classes.length > 0) kept.push(`class=${classes.join(' ')}`);
      } else kept.push(`${name}=${value}`);
    }
    if (tag === 'input' || tag === 'textarea' || tag === 'select') {
      const isOpen = tag === 'input' && open.has(element.type);
      // A masked choice names no option, so that none is chosen.
      if (!isOpen && tag !== 'select') kept.push(`characters=${element.value.length}`);
      if (tag === 'input' && (element.type === 'checkbox' || element.type === 'radio'))
        kept.push(`checked=${element.checked}`);
    }
    return kept.sort().join(' ');
  };
  const lines = [];
  const walk = (node, depth) => {
    const indent = ' '.repeat(depth);
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data !== '') lines.push(`${indent}"${node.data}"`);
      return;
    }
    if (node.nodeType === Node.COMMENT_NODE) {
      lines.push(`${indent}<!--${node.data}-->`);
      return;
    }
    if (node.nodeType === Node.DOCUMENT_TYPE_NODE) {
      // The player writes one to get a document into quirks mode.
      if (!/Transitional/.test(node.publicId)) lines.push(`${indent}<!${node.name}>`);
      return;
    }
    let tag = node.nodeName.toLowerCase();
    if (node.nodeType === Node.ELEMENT_NODE) {
      const isOurs =
        tag === 'meta' && node.getAttribute('http-equiv')?.toLowerCase() === 'content-security-policy';
      const isPlayers = tag === 'style' && node.parentNode?.nodeName === 'HTML';
      if (tag === 'script' || tag === 'noscript' || isOurs || isPlayers) return;
      const isSheet = tag === 'style' || (tag === 'link' && /stylesheet/.test(node.rel));
      if (isSheet) tag = 'style';
      lines.push(`${indent}<${tag} ${isSheet ? '' : attributes(node, tag)}>`);
      if (isSheet || tag === 'textarea' || tag === 'template') return;
      if (node.shadowRoot) {
        lines.push(`${indent} #shadow`);
        for (const child of node.shadowRoot.childNodes) walk(child, depth + 2);
      }
      if (tag === 'iframe') {
        const inner = node.contentDocument;
        if (inner?.documentElement && inner.body?.childNodes.length > 0) walk(inner, depth + 2);
        return;
      }
    }
    for (const child of node.childNodes) walk(child, depth + 1);
  };
  walk(document, 0);
  return lines.join('\n');
};
