// Logging in, and making an account first where that is allowed.

import { call } from "./api.js";
import { byId } from "./elements.js";

const PLAIN = {
  "Invalid credentials.": "This e-mail address and this password do not belong together.",
  "This e-mail address is taken.": "There is an account with this address already. Log in instead?",
  "Registration is closed.": "New accounts are made by the administrator here.",
};

/** Sets the form up; `enter` gets what the server says of the user. */
export function login(enter) {
  const [form, email, password, fault, submit] = ["login-form", "email", "password", "login-fault", "login-submit"].map(byId);
  let registering = false;

  function show(mode) {
    registering = mode;
    byId("login-title").textContent = submit.textContent = registering ? "Create an account" : "Log in";
    byId("switch-question").textContent = registering ? "Been here before?" : "New here?";
    byId("switch").textContent = registering ? "Log in" : "Create an account";
    byId("password-hint").hidden = !registering;
    password.autocomplete = registering ? "new-password" : "current-password";
    fault.textContent = "";
  }

  function wrong() {
    if (!email.value.includes("@") || !email.validity.valid) return [email, "Please enter your e-mail address."];
    if (password.value === "") return [password, "Please enter your password."];
    if (registering && new TextEncoder().encode(password.value).length < 8) {
      return [password, "The password needs at least 8 characters."];
    }
    return null;
  }

  byId("switch").addEventListener("click", () => { show(!registering); email.focus(); });
  byId("reveal").addEventListener("click", (event) => {
    const shown = password.type === "password";
    password.type = shown ? "text" : "password";
    event.currentTarget.textContent = shown ? "Hide" : "Show";
    event.currentTarget.setAttribute("aria-pressed", shown);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.textContent = "";
    const mistake = wrong();
    if (mistake) {
      fault.textContent = mistake[1];
      mistake[0].focus();
      return;
    }
    submit.disabled = true;
    try {
      const json = { email: email.value.trim(), password: password.value };
      if (registering) await call("POST", "/register", { json, anonymous: true });
      const who = await call("POST", "/session", { json, anonymous: true });
      form.reset();
      show(false);
      enter(who);
    } catch (error) {
      fault.textContent = PLAIN[error.message] ?? error.message;
      password.focus();
    } finally {
      submit.disabled = false;
    }
  });
  return { fault: (text) => { fault.textContent = text; }, focus: () => email.focus() };
}
