// The few things the pages do with the document. Text goes in as text, never as HTML.

/** The element with this id. Throws if the page has none: a mistake of ours. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

const HANDLERS = ["onclick", "onsubmit", "oninput", "onchange"];

/** An element with attributes, handlers and children; strings become text, null is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (HANDLERS.includes(name)) made[name] = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/**
 * Put these in the place of all that is in it. What is alike stays the node it is, and so keeps
 * the focus, the caret, and a press of a button that has begun. `data-key` tells siblings apart.
 */
export function fill(parent, ...children) {
  const old = [...parent.childNodes];
  const kept = children.filter((child) => child != null).map((child) => {
    const made = typeof child === "string" ? document.createTextNode(child) : child;
    const place = old.findIndex((one) => isAlike(one, made));
    return place < 0 ? made : become(old.splice(place, 1)[0], made);
  });
  for (const one of old) one.remove();
  kept.forEach((one, n) => {
    if (parent.childNodes[n] !== one) parent.insertBefore(one, parent.childNodes[n] ?? null);
  });
}

function isAlike(one, other) {
  return one.nodeName === other.nodeName && one.dataset?.key === other.dataset?.key;
}

function become(node, wanted) {
  if (node === wanted) return node;
  if (node.nodeType === Node.TEXT_NODE) {
    say(node, wanted.data);
    return node;
  }
  for (const name of node.getAttributeNames()) {
    if (!wanted.hasAttribute(name)) node.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const name of HANDLERS) node[name] = wanted[name];
  fill(node, ...wanted.childNodes);
  return node;
}

/** Set text only if it is new, so that a screen reader does not say it again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The room id at the end of this page's address, such as /listen/blue. */
export function roomOfPage() {
  return decodeURIComponent(location.pathname.split("/").pop());
}
