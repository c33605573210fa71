// Enter sends, but not the Enter that confirms a Japanese conversion, and not with Shift.

export function sendsOnEnter(field, form) {
  field.addEventListener("keydown", (event) => {
    // Some browsers end the composition before the key arrives: then only the number 229 tells.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
