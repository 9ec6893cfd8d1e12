// Greets. The name comes from the event, or from `?name=` when the function is called over HTTP.

export const handler = async (event) => {
  const name = event?.name ?? event?.queryStringParameters?.name ?? "";
  console.log(`greeting ${name || "nobody in particular"}`);
  return name ? `hello ${name}` : "hello";
};
