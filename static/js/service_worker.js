/* Shows what the desk pushes to this browser. It stores nothing, and answers no requests. */
"use strict";

self.addEventListener("push", (event) => {
  const { id, text, unread } = event.data.json();
  const shown = self.registration.showNotification("Countersign", { body: text, tag: id || "countersign", data: id });
  const badge = unread ? self.navigator.setAppBadge?.(unread) : self.navigator.clearAppBadge?.();
  event.waitUntil(Promise.all([shown, badge]));
});

/* A press only opens the notice: nothing is decided from here. */
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const id = event.notification.data;
  event.waitUntil(self.clients.openWindow(id ? `/notices/${id}/` : "/notices/"));
});
