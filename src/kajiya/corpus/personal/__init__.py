"""Personal data in text: found by form, check digits and the words around it, counted, masked or dropped."""
