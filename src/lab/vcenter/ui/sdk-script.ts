/** The part of the vSphere Client SDK that plug-ins of remote kind call, for pages in the stand-in's iframes. */

export const SDK_SCRIPT = `'use strict';
(() => {
  const frame = window.frameElement;
  const top = window.parent.document.documentElement;
  const theme = () => ({ name: top.dataset.theme || 'light' });
  const watchers = [];
  new MutationObserver(() => watchers.forEach((tell) => tell(theme()))).observe(top, { attributeFilter: ['data-theme'] });
  window.htmlClientSdk = {
    initialize: (ready) => setTimeout(ready, 0),
    isInitialized: () => true,
    app: {
      getSessionInfo: (take) => fetch('/ui/session').then((answer) => answer.json()).then(take),
      getContextObjects: () => (frame && frame.dataset.object ? [{ id: frame.dataset.object }] : []),
      getTheme: theme,
      getClientLocale: () => 'en-US',
    },
    event: { onThemeChanged: (take) => watchers.push(take), onGlobalRefresh: () => {} },
    modal: { close: () => {} },
  };
})();
`;
