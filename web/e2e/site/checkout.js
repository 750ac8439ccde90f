document.getElementById('order').addEventListener('submit', (event) => {
  event.preventDefault();
  console.error('payment took two attempts');
  document.getElementById('outcome').textContent = 'Thank you! Your lanterns are on their way.';
  document.getElementById('pay').remove();
});
