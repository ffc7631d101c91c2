/* Sends once more what was kept while somebody confirmed who they are. Without scripts the button does it. */
document.querySelector("form[data-go-on]")?.requestSubmit();
