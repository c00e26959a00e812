// What the type checker does not see in the pages' programs.

const readonly = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

export default [
  {
    files: ["**/static/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "module",
      globals: readonly([
        "AbortController", "AbortSignal", "Blob", "CSSStyleSheet", "CustomEvent", "Element", "Event",
        "EventTarget", "FormData", "HTMLButtonElement", "HTMLDialogElement", "HTMLElement",
        "HTMLFormElement", "HTMLInputElement", "HTMLSelectElement", "HTMLTableElement", "Intl", "Node",
        "Response", "TextDecoderStream", "URL", "URLSearchParams", "atob", "clearInterval", "clearTimeout", "crypto",
        "customElements", "document", "fetch", "history", "localStorage", "location", "navigator",
        "performance", "sessionStorage", "setInterval", "setTimeout", "window",
      ]),
    },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "error",
      "default-case-last": "error",
      "eqeqeq": "error",
      "no-alert": "error",
      "no-console": "error",
      "no-constant-binary-expression": "error",
      "no-dupe-else-if": "error",
      "no-duplicate-imports": "error",
      "no-empty": "error",
      "no-eval": "error",
      "no-fallthrough": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-script-url": "error",
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-expressions": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "off",
      "require-atomic-updates": "off",
      "valid-typeof": "error",
    },
  },
];
