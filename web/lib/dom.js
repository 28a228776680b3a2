// The few things the pages do with the document. Text goes in as text, never as HTML.

/** The element with this id. Throws if the page has none: a mistake of ours. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/** An element with attributes and children; strings become text, null is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Put these in the place of all that is in it. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child != null));
}

/** Set text only if it is new, so that a screen reader does not say it again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The room id at the end of this page's address, such as /listen/blue. */
export function roomOfPage() {
  return decodeURIComponent(location.pathname.split("/").pop());
}
